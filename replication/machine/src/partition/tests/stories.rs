//! One promise a story.
