//! Prints `crds/dnsproxies.yaml`; `make generate` runs it.

fn main() {
    print!("{}", dnsproxy_api::custom_resource_definitions());
}
