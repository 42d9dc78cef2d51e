//! Links the program to a fixed address where the system allows it.
//!
//! Otherwise some 300,000 pointers would have to be set at every start, which takes longer than all else that a short
//! command does before it works.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let of_target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if of_target("OS") == "linux" && of_target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
