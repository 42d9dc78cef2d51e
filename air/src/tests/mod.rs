//! The report as a whole, against a naive one.

mod naive;
mod publishing;
mod random;
mod shown;
mod snapshots;
mod worked_example;
mod world;
