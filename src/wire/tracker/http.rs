//! Announces and scrapes over HTTP (BEP 3, 7, 23, 24, 31, 48).
