//! Access control lists where they do not count.

use super::*;

#[tokio::test]
async fn where_lists_do_not_count_only_two_canned_ones_are_taken() {
    let gateway = Gateway::start().await;
    for (name, code) in [
        ("private", ""),
        ("bucket-owner-full-control", ""),
        ("bucket-owner-read", "AccessControlListNotSupported"),
        ("public-read", "AccessControlListNotSupported"),
        ("nonsense", "InvalidArgument"),
    ] {
        let list = [("x-amz-acl", name)];
        assert_eq!(gateway.put("k", &list, "x").await.element("Code"), code, "{name}");
        assert_eq!(gateway.put("k?acl", &list, "").await.element("Code"), code, "{name}");
        assert_eq!(gateway.send("PUT", "/bucket?acl", &list, "").await.element("Code"), code, "{name}");
    }
}
