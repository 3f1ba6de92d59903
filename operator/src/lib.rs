//! The control plane: turns `DnsProxy` objects into running proxies.
