//! Features and engines: how a source's events become a feature's rows.
//!
//! A [`Feature`] cleans and filters the events of one source and exposes the columns that its [`Engine`] asks for; the
//! engine groups and aggregates them, and knows how the results of many chunks merge into one. Both are DataFusion
