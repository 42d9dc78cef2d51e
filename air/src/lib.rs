//! The Audience Index Report.
mod config;
mod count;
mod discovery;
mod error;
mod index;
mod input;
mod names;
mod runs;
mod suppress;
mod udb;
