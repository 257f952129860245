//! Where each thing is shown that is built around the S3 protocol library, and each behaviour that naive servers get
//! wrong: a row names the file and the test functions. A row whose test is gone fails here.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it reads the source tree")]

use std::path::Path;

/// What must hold, the file, the functions in it.
type Row = (&'static str, &'static str, &'static [&'static str]);

/// Around the protocol library.
const AROUND: &[Row] = &[
    (
        "health, metrics and the admin API have listeners of their own; readiness is told without credentials",
        "gateway/src/server/tests/guarding.rs",
        &["readiness_is_told_without_credentials"],
    ),
    (
        "one request id on every answer, in its error document, made before the call",
        "gateway/src/server/tests/guarding.rs",
        &["every_response_carries_the_ids_and_every_error_names_them", "errors_of_head_requests_have_ids_but_no_body"],
    ),
    ("small error documents are completed", "gateway/src/guard/error_xml.rs", &["what_is_missing_is_added_once"]),
    (
        "preflights and headers by the bucket's CORS rules",
        "gateway/src/server/tests/guarding.rs",
        &["a_buckets_rules_answer_preflights_and_stand_on_every_answer"],
    ),
    (
        "queries are allowed by method and kind of path: sub-resources never fall through",
        "gateway/src/guard/table_tests.rs",
        &["what_would_fall_through_is_refused", "no_subresource_reaches_a_plain_deletion", "what_is_allowed_is_named"],
    ),
    (
        "the same, over a socket",
        "gateway/src/server/tests/guarding.rs",
        &["a_subresource_that_is_not_there_never_reaches_the_plain_operation"],
    ),
    (
        "limits: heads, idle times, connections, requests and bytes in flight",
        "gateway/src/server/tests/guarding.rs",
        &[
            "too_many_requests_are_told_to_slow_down",
            "too_many_bytes_are_told_to_slow_down",
            "one_connection_too_many_is_turned_away",
        ],
    ),
    (
        "slow clients are cut",
        "gateway/src/server/tests/slow.rs",
        &[
            "a_head_that_drips_is_cut",
            "a_body_that_stands_still_is_cut_and_told_so",
            "a_body_that_drips_is_cut_too",
            "a_client_that_does_not_read_is_cut",
        ],
    ),
    ("heads are bounded", "gateway/src/server/tests/framing.rs", &["heads_are_bounded"]),
    (
        "session tokens, in headers, queries and forms; service and region; host under the signature",
        "gateway/src/server/tests/forged.rs",
        &["no_forged_request_is_accepted_and_each_is_told_why"],
    ),
    ("host must be signed", "gateway/src/server/tests/forgery.rs", &["a_signature_must_cover_the_host"]),
    ("expected owners", "tests/tests/e2e_s3.rs", &["modes_and_what_is_not_configured"]),
    (
        "policy for every operation in every way: both sides of copies, every key of bulk deletes",
        "gateway/src/server/tests/matrix.rs",
        &["every_operation_in_every_way"],
    ),
    (
        "bodies are read to their end and compared with length, digest, checksum and trailer before anything is stored",
        "gateway/src/s3/tests/mod.rs",
        &["bodies_that_do_not_hold_are_refused_and_nothing_is_stored"],
    ),
    (
        "announced trailers must arrive and be the announced ones",
        "gateway/src/checksum/claim.rs",
        &["an_announced_trailer_must_arrive_and_be_the_announced_one", "headers_hold"],
    ),
    ("errors of streams are told apart and never a 500", "gateway/src/error.rs", &["bodies_never_become_a_500"]),
    ("through all wrappers", "gateway/src/body.rs", &["stream_errors_are_told_apart_through_wrappers"]),
    (
        "aws-chunked is stripped from the content encoding wherever it stands",
        "gateway/src/s3/request.rs",
        &["aws_chunked_is_stripped_wherever_it_stands"],
    ),
    ("an empty key in XML is an error of its own", "gateway/src/s3/delete.rs", &["one_bad_key_is_its_own_error"]),
    ("limits of keys and parts in documents", "gateway/src/s3/complete.rs", &["the_list_of_parts_is_checked"]),
    ("object attributes in one header or many", "gateway/src/s3/attributes.rs", &["names_come_in_one_header_or_many"]),
    ("hostile documents", "gateway/src/server/tests/framing.rs", &["hostile_xml_is_refused_quickly"]),
    (
        "url encoding of listings, and what XML cannot carry",
        "gateway/src/s3/list.rs",
        &[
            "url_encoding_keeps_slashes_and_escapes_plus_and_space",
            "what_xml_cannot_carry_is_refused_rather_than_garbled",
        ],
    ),
    (
        "completing goes on when the client leaves; copies move no bytes within a shard",
        "gateway/src/s3/tests/mod.rs",
        &["multipart_uploads", "copies_within_and_across_shards"],
    ),
    (
        "errors have their statuses and keep their headers",
        "gateway/src/error.rs",
        &[
            "refusals_are_those_of_s3",
            "what_may_be_repeated_is_a_503_with_retry_after",
            "an_unsatisfiable_range_tells_the_size",
        ],
    ),
];

/// Behaviour that naive servers get wrong.
const BEHAVIOUR: &[Row] = &[
    (
        "listing: markers, prefixes, empty pages and tokens, encoding",
        "tests/tests/e2e_rules.rs",
        &["listings_page_as_s3"],
    ),
    (
        "listing: common prefixes as markers",
        "gateway/src/s3/list.rs",
        &["markers_that_are_common_prefixes_skip_all_of_them", "page_sizes", "tokens_come_back"],
    ),
    (
        "listing: a thousand keys below one prefix cost one",
        "replica/src/index/tests/listing.rs",
        &["a_common_prefix_costs_the_same_whatever_it_holds"],
    ),
    (
        "buckets: made again by their owner, absent, named",
        "tests/tests/e2e_rules.rs",
        &["buckets_are_named_and_owned_as_on_s3"],
    ),
    ("buckets: owned by others", "tests/tests/e2e_access.rs", &["teams_share_a_cluster_safely"]),
    (
        "buckets: absent ones are absent for anybody",
        "gateway/src/server/tests/guarding.rs",
        &["an_anonymous_request_learns_only_that_a_bucket_is_absent"],
    ),
    (
        "objects: empty metadata, copies to themselves, sources decoded once",
        "tests/tests/e2e_rules.rs",
        &["objects_keep_what_they_were_given"],
    ),
    (
        "objects: a 403 comes before 100 Continue",
        "gateway/src/server/tests/framing.rs",
        &["a_refused_upload_is_refused_before_it_is_asked_for"],
    ),
    (
        "multipart: repeated, replaced, too small, by number, with checksums",
        "tests/tests/e2e_rules.rs",
        &["uploads_in_parts_complete_once"],
    ),
    (
        "multipart: checksums of parts make the whole's",
        "gateway/src/checksum/combine.rs",
        &["a_combined_crc_is_that_of_the_whole"],
    ),
    (
        "multipart: parts with checksums that Create did not name",
        "gateway/src/s3/multipart.rs",
        &["a_part_may_bring_a_checksum_that_create_did_not_name"],
    ),
    (
        "conditions: judged when it counts, missing keys, markers, deletes",
        "tests/tests/e2e_rules.rs",
        &["conditions_are_judged_when_it_counts"],
    ),
    (
        "conditions: at their place in the log",
        "replica/src/index/tests/writes.rs",
        &["conditions_are_judged_at_the_place_in_the_log"],
    ),
    ("concurrency: the last to finish wins", "tests/tests/e2e_rules.rs", &["the_last_to_finish_wins"]),
    (
        "versioning: null, suspended, revived, markers, HEAD",
        "tests/tests/e2e_versions.rs",
        &["versions_are_kept_covered_and_revived"],
    ),
    ("versioning: against a model", "replica/src/index/tests/versions.rs", &["versions_behave_as_lists_in_memory"]),
    (
        "object lock: in the state machine, whatever asks",
        "replica/src/index/tests/locks.rs",
        &[
            "retained_versions_stay_until_their_time",
            "a_legal_hold_has_no_end_and_no_bypass",
            "retentions_are_made_longer_not_shorter",
        ],
    ),
    (
        "object lock: key by key in bulk deletes, bypass by permission",
        "tests/tests/e2e_versions.rs",
        &["locked_versions_stay"],
    ),
    ("configurations that are not there say so", "tests/tests/e2e_rules.rs", &["what_is_not_configured_says_so"]),
    (
        "operations that are not there are 501",
        "gateway/src/s3/tests/operations.rs",
        &["every_operation_is_documented_as_it_is"],
    ),
];

#[test]
fn every_row_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace");
    let mut missing = Vec::new();
    for (what, file, functions) in AROUND.iter().chain(BEHAVIOUR) {
        let source = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        for function in *functions {
            let there = [" ", "\n"].iter().any(|before| source.contains(&format!("{before}fn {function}(")));
            if !there {
                missing.push(format!("{what}: no {function} in {file}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
