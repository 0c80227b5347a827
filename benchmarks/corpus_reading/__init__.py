"""Parts of benchmarks/corpus_read.py; a folder, so that `make bench` runs the script and not its parts."""
