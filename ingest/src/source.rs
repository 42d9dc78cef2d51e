//! What a source is: where its files lie, how they are named, what their lines hold.
