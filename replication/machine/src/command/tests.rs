//! Commands survive the wire; anything else is an error, never a panic.
