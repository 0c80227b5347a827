"""One page about a build: what went in, what was dropped and why, what was learned."""
