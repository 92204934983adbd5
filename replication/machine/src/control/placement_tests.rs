//! Placement is even, and never puts two copies on one node.
