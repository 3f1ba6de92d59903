//! The address of a Service that somebody deleted: it stands in other people's pods, and in the object's status. The
//! Service that takes its place gets the same one, unless somebody else has it by now.

use dnsproxy_api::DnsProxy;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};

use super::{ApplyError, REFUSALS, failed};
use crate::context::Context;

/// Makes the Service with the address that it had, when there is none. The address is asked for once and not applied
/// again: the API server keeps it, and who edits the object may still choose another one.
pub(super) async fn give_back(
    proxy: &DnsProxy,
    service: &Service,
    context: &Context,
) -> Result<(), ApplyError> {
    let Some(as_before) = with_address(proxy, service) else { return Ok(()) };
    let name = service.name_any();
    let namespace = service.namespace().unwrap_or_default();
    let api = Api::<Service>::namespaced(context.client.clone(), &namespace);
    let there = api.get_metadata_opt(&name).await.map_err(|error| failed(service, error))?;
    if there.is_some() {
        return Ok(());
    }
    let params = PatchParams::apply(crate::NAME).force();
    match api.patch(&name, &params, &Patch::Apply(&as_before)).await {
        Ok(_) => tracing::info!(%namespace, %name, "made the Service again, with its address"),
        // It is taken, or not of the families that are wanted now: another one has to do.
        Err(kube::Error::Api(status)) if REFUSALS.contains(&status.code) => {}
        Err(error) => return Err(failed(service, error)),
    }
    Ok(())
}

/// None where it had none, or where one is written.
fn with_address(proxy: &DnsProxy, service: &Service) -> Option<Service> {
    let addresses = proxy.status.as_ref()?.cluster_ips.clone()?;
    let first = addresses.first()?.clone();
    let spec = service.spec.clone().filter(|spec| spec.cluster_ip.is_none())?;
    let spec = ServiceSpec { cluster_ip: Some(first), cluster_ips: Some(addresses), ..spec };
    Some(Service { spec: Some(spec), ..service.clone() })
}
