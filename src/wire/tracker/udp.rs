//! Announces and scrapes in datagrams (BEP 15, 41).
