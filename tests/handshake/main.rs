//! A real sidecar without a server, and its attackers. One sits between it and honest recipients, and one is a captured
//! pod. Others are strangers in any number, and clients with malformed requests.

mod between;
mod floods;
mod http;
