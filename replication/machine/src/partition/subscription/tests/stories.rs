//! Stories, to come.
