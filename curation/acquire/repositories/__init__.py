"""Listings of public repositories, a module each; every one gives `list_files(container, patience)`."""
