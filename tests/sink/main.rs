//! The sink as a program, under clients of other people.

mod lettre;
