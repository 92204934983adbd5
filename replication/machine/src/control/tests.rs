//! Stories of the control group.
