"""From an address to verified bytes: resolvers, the download loop, archives, the lock file."""
