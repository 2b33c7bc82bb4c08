//! The examples of raptorflow; each is a program of its own, see `README.md`.
