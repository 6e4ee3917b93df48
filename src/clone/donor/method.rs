//! By what a recipient gets its clone: by the donor's backup tool where that fits its server and the recipient has one too,
//! by MySQL's CLONE plugin where the donor has no such tool and both servers have the plugin.

use super::context::Donor;
use crate::clone::method::backup_tool::BackupTool;
use crate::clone::method::clone_plugin;
use crate::model::event::Event;
use crate::protocol::message::{Hello, Refusal, Why};
use crate::server::dialect::Dialect;
use crate::settings::Method;

/// A way to copy this pod's server.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    Tool(&'a BackupTool),
    Plugin,
}

/// Chooses for a recipient, by what it says of itself.
pub fn choose<'a>(donor: &'a Donor, hello: &Hello) -> Result<Way<'a>, Refusal> {
    let server = donor.status.get().server.unwrap_or_default();
    let method = donor.settings.peering.method;
    let by_tool = match method {
        Method::ClonePlugin => Err("this donor gives clones by the CLONE plugin only (--method)".to_owned()),
        Method::Auto | Method::BackupTool => match donor.tool() {
            Ok(tool) => why_not_by_tool(tool, &server, hello).map_or(Ok(tool), Err),
            Err(_) => Err("this donor has no backup tool".to_owned()),
        },
    };
    let no_tool = match by_tool {
        Ok(tool) => return Ok(Way::Tool(tool)),
        Err(why) => why,
    };
    let is_used = clone_plugin::copies_server(method, donor.tool().ok(), &server);
    match why_not_by_plugin(method, is_used, &server, hello.plugin_server.as_deref()) {
        None => Ok(Way::Plugin),
        Some(no_plugin) => {
            let text = format!("{no_tool}; {no_plugin}");
            Err(Refusal::new(Event::RefusedMethod, Why::Unsupported, text))
        }
    }
}

fn why_not_by_tool(tool: &BackupTool, server: &str, hello: &Hello) -> Option<String> {
    let format = tool.format().to_string();
    if let Some(why) = tool.misfit(server) {
        return Some(why);
    }
    if !hello.formats.contains(&format) {
        let takes =
            if hello.formats.is_empty() { "no backup tool's stream".to_owned() } else { hello.formats.join(", ") };
        return Some(format!("this donor sends {format}, the recipient takes {takes}"));
    }
    match &hello.tool_series {
        Some(theirs) if *theirs != tool.series() => {
            Some(format!("the donor copies with {tool}, and the recipient would prepare with one of {theirs}"))
        }
        _ => None,
    }
}

fn why_not_by_plugin(method: Method, is_used: bool, server: &str, recipient: Option<&str>) -> Option<String> {
    let own = Dialect::of(server).ok();
    match (method, own, recipient) {
        (Method::BackupTool, ..) => Some("it gives none by the CLONE plugin (--method)".to_owned()),
        (_, Some(own), _) if !own.has_clone_plugin() => Some(format!("its server {server} has no CLONE plugin")),
        (_, None, _) => Some("its server's version is not known".to_owned()),
        // Nobody has made the account that the plugin needs.
        _ if !is_used => Some("it gives none by the CLONE plugin, for it has a backup tool (--method)".to_owned()),
        (_, _, None) => Some("the recipient has no server that could copy by the CLONE plugin".to_owned()),
        (_, Some(own), Some(theirs)) => match Dialect::of(theirs) {
            Ok(recipient) if recipient.can_copy(own) => None,
            _ => Some(format!("the recipient's server {theirs} can't copy one of {server} by the CLONE plugin")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_from_the_plugin_is_named() {
        let why =
            |method, server: &str, recipient| why_not_by_plugin(method, true, server, recipient).unwrap_or_default();
        assert!(
            why_not_by_plugin(Method::Auto, false, "9.7.4", Some("9.7.4")).unwrap().contains("it has a backup tool")
        );
        assert_eq!(why(Method::Auto, "9.7.4-2", Some("9.7.3")), "");
        assert!(why(Method::Auto, "9.7.4-2", Some("9.6.0")).contains("9.6.0 can't copy one of 9.7.4-2"));
        assert!(why(Method::Auto, "10.11.19-MariaDB", Some("9.6.0")).contains("no CLONE plugin"));
        assert!(why(Method::Auto, "9.7.4", None).contains("the recipient has no server"));
        assert!(why(Method::BackupTool, "9.7.4", Some("9.7.4")).contains("--method"));
    }
}
