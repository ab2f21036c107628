"""What the end-to-end tests are written with: the daemon, its ledger, SOCKS by hand,
targets to connect to, name servers."""
