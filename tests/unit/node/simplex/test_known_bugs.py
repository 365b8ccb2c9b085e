"""Every item of CONSENSUS section 2 has a test, and every rule of section 1 a place in the code."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
HERE = "tests/unit/node/simplex"
SAFETY, LIVENESS, RESTART, CATCHUP, EPOCHS = (
    f"{HERE}/test_known_bugs_{name}.py"
    for name in ("safety", "liveness", "restart", "catchup", "epochs")
)
RANGES = "tests/unit/node/engine/test_ranges.py"
FETCH = "tests/unit/node/engine/test_fetch.py"

# Item -> where its test is. The number of an item stands in the docstring of its test, except for
# tests of the node, which are about more than one item.
ITEMS: dict[str, tuple[tuple[str, str], ...]] = {
    # Safety
    "ava #280": (
        (SAFETY, "test_retransmission_never_signs_a_finalize_for_a_view_that_was_nullified"),
        (SAFETY, "test_own_votes_are_forgotten_only_below_the_final_view"),
        (SAFETY, "test_the_path_that_repeats_votes_has_no_signer"),
    ),
    "ava PR #99": ((SAFETY, "test_nullify_and_finalize_of_one_view_exclude_each_other"),),
    "commonware #2290": ((SAFETY, "test_nullify_and_finalize_of_one_view_exclude_each_other"),),
    "commonware #733": (
        (SAFETY, "test_quorums_of_any_size_share_an_honest_validator"),
        (SAFETY, "test_2f_plus_1_votes_are_no_certificate"),
    ),
    "ava #546": ((SAFETY, "test_a_second_message_does_not_replace_a_verified_vote"),),
    "ava #555": ((SAFETY, "test_what_was_verified_is_the_bytes_and_nothing_near_them"),),
    "commonware #2797": (
        (SAFETY, "test_evidence_survives_a_restart"),
        (SAFETY, "test_a_vote_inside_a_certificate_convicts_who_told_this_node_otherwise"),
    ),
    "commonware #4328": (
        (SAFETY, "test_a_log_with_both_votes_reports_them_again"),
        (SAFETY, "test_evidence_about_a_view_that_became_final_is_reported_after_a_restart"),
    ),
    # Liveness
    "commonware #2137": ((LIVENESS, "test_split_views_do_not_lock_up"),),
    "commonware #2192": ((LIVENESS, "test_split_views_do_not_lock_up"),),
    "commonware #2149": ((LIVENESS, "test_split_views_do_not_lock_up"),),
    "commonware #1224": ((LIVENESS, "test_split_views_do_not_lock_up"),),
    "commonware #4332": ((LIVENESS, "test_a_certified_split_heals_through_frontiers_alone"),),
    "commonware #4386": ((LIVENESS, "test_a_certified_split_heals_through_frontiers_alone"),),
    "commonware #1078": ((LIVENESS, "test_the_proposal_carries_its_justification"),),
    "commonware #2695": (
        (LIVENESS, "test_a_timeout_and_then_a_late_notarization_do_not_stop_the_view"),
    ),
    "commonware #2697": (
        (LIVENESS, "test_a_timeout_and_then_a_late_notarization_do_not_stop_the_view"),
    ),
    "commonware #2703": (
        (LIVENESS, "test_a_timeout_and_then_a_late_notarization_do_not_stop_the_view"),
    ),
    "ava #159": ((LIVENESS, "test_lost_votes_are_sent_again"),),
    "ava #168": ((LIVENESS, "test_lost_votes_are_sent_again"),),
    "ava #279": ((LIVENESS, "test_lost_votes_are_sent_again"),),
    "ava #234": ((LIVENESS, "test_a_leader_times_out_on_its_own_round"),),
    "ava #471": ((LIVENESS, "test_a_view_entered_through_any_certificate_is_started"),),
    "ava #332": ((LIVENESS, "test_a_view_entered_through_any_certificate_is_started"),),
    "ava #232": ((LIVENESS, "test_a_timer_of_a_left_view_cannot_fire"),),
    "ava #323": ((LIVENESS, "test_a_timer_of_a_left_view_cannot_fire"),),
    "ava #285": ((LIVENESS, "test_a_block_is_only_judged_once_its_parent_is_certified"),),
    "commonware #2861": (
        (LIVENESS, "test_a_block_withheld_from_the_next_leader_is_fetched_from_its_voters"),
    ),
    # Log and restart
    "ava #328": (
        (RESTART, "test_replay_does_not_depend_on_the_order_of_records"),
        (RESTART, "test_an_own_nullify_found_in_the_log_is_sent_again"),
        (RESTART, "test_a_restarted_leader_starts_its_view"),
    ),
    "ava #486": ((RESTART, "test_no_second_empty_vote_is_written"),),
    "ava #540": ((RESTART, "test_every_legal_record_can_be_replayed"),),
    "ava #176": ((RESTART, "test_a_logged_block_is_executed_again_before_it_is_voted_on"),),
    "commonware #4275": (
        (RESTART, "test_all_crash_after_their_nullify_and_the_network_goes_on"),
        (RESTART, "test_votes_in_the_log_of_a_crashed_node_complete_a_certificate"),
        (RESTART, "test_all_crash_after_their_finalize_votes"),
    ),
    "commonware #3727": (
        (RESTART, "test_the_final_view_is_the_higher_of_the_log_and_the_application"),
    ),
    "commonware #3543": (
        (RESTART, "test_after_a_failed_write_the_log_takes_and_syncs_nothing"),
        (RESTART, "test_the_block_is_logged_in_front_of_the_vote_that_relies_on_it"),
    ),
    "tempo #956": ((RESTART, "test_a_restarted_node_serves_the_certificates_it_has"),),
    # Catch-up
    "ava REPLICATION_BUG_REPORT": (
        (CATCHUP, "test_a_frontier_that_does_not_fit_is_cut_and_answered_never_dropped"),
        (RANGES, "test_long_answers_are_cut_and_proven"),
        (RANGES, "test_one_block_is_sent_however_large"),
    ),
    "ava #542": ((CATCHUP, "test_a_finalization_does_not_lose_a_proposal_that_still_waits"),),
    "ava #544": (
        (CATCHUP, "test_a_block_is_kept_under_its_hash_and_not_under_a_number_it_claims"),
    ),
    "ava #558": (
        (CATCHUP, "test_blocks_asked_for_at_a_time_are_bounded_and_the_final_one_is_among_them"),
        (FETCH, "test_orphans_come_back_with_their_parent_and_are_bounded"),
    ),
    "ava #559": (
        (CATCHUP, "test_blocks_asked_for_at_a_time_are_bounded_and_the_final_one_is_among_them"),
        (SAFETY, "test_certificates_above_the_final_view_are_bounded"),
    ),
    "ava #562": (
        (CATCHUP, "test_blocks_asked_for_at_a_time_are_bounded_and_the_final_one_is_among_them"),
        (SAFETY, "test_certificates_above_the_final_view_are_bounded"),
    ),
    "ava #563": (
        (CATCHUP, "test_blocks_asked_for_at_a_time_are_bounded_and_the_final_one_is_among_them"),
        (FETCH, "test_only_an_awaited_answer_is_taken_and_only_once"),
    ),
    "ava #541": ((CATCHUP, "test_a_leader_that_floods_a_view_keeps_two_proposals"),),
    "tempo #6779": ((CATCHUP, "test_the_floor_does_not_jump_over_undelivered_blocks"),),
    "tempo #1173": ((CATCHUP, "test_what_a_status_calls_final_is_delivered"),),
    # Missing finalizations
    "tempo #1477": (
        (CATCHUP, "test_a_block_without_a_finalization_of_its_own_is_final_with_its_child"),
    ),
    "commonware #2365": (
        (CATCHUP, "test_two_finalizations_of_one_seal_block_in_two_views_are_one_end"),
    ),
    # Epochs
    "ava #543": ((EPOCHS, "test_votes_of_those_who_left_do_not_count_in_the_next_epoch"),),
    "ava #545": ((EPOCHS, "test_a_height_has_one_final_block_though_views_after_the_seal_go_on"),),
    "ava #551": ((EPOCHS, "test_records_of_the_ended_epoch_do_not_move_the_next_one"),),
    "ava #552": ((EPOCHS, "test_the_core_of_an_ended_epoch_is_inert"),),
    "ava #554": ((EPOCHS, "test_everything_that_names_a_place_is_inside_the_signed_bytes"),),
    "ava #566": ((EPOCHS, "test_the_core_of_an_ended_epoch_is_inert"),),
    "ava #567": ((EPOCHS, "test_a_lagging_node_still_gets_the_end_from_one_that_is_over"),),
    "ava #483": ((EPOCHS, "test_the_order_of_the_validators_is_part_of_every_certificate"),),
    "commonware #4038": (
        (EPOCHS, "test_everything_that_names_a_place_is_inside_the_signed_bytes"),
    ),
    "commonware #2425": (
        (EPOCHS, "test_everything_that_names_a_place_is_inside_the_signed_bytes"),
    ),
    "commonware #3126": (
        (EPOCHS, "test_a_certificate_of_another_epoch_than_its_height_is_refused"),
    ),
    "tempo #1020": ((EPOCHS, "test_a_crash_just_before_the_end_of_an_epoch_loses_nothing"),),
    "Concordium #1197": ((EPOCHS, "test_timeouts_of_two_epochs_are_never_counted_together"),),
    # Idle
    "ava WaitForPendingBlock": (
        (CATCHUP, "test_an_idle_chain_ends_with_a_final_tip_and_makes_no_block"),
    ),
    "CometBFT create_empty_blocks": (
        (CATCHUP, "test_an_idle_chain_ends_with_a_final_tip_and_makes_no_block"),
    ),
    "tgrade #230": ((CATCHUP, "test_an_idle_chain_ends_with_a_final_tip_and_makes_no_block"),),
    # Lists of leaders to avoid
    "ava #557": ((CATCHUP, "test_f_validators_cannot_make_others_skip_a_leader"),),
    "ava #568": ((CATCHUP, "test_f_validators_cannot_make_others_skip_a_leader"),),
    # Documentation drift
    "commonware #3299": ((f"{HERE}/test_known_bugs.py", "test_every_rule_has_its_place"),),
    "commonware #2948": ((f"{HERE}/test_known_bugs.py", "test_every_rule_has_its_place"),),
    "commonware #2949": ((f"{HERE}/test_known_bugs.py", "test_every_rule_has_its_place"),),
    "commonware #1102": ((f"{HERE}/test_known_bugs.py", "test_every_rule_has_its_place"),),
}


def docstrings(path: str) -> dict[str, str]:
    """Docstrings of the tests of a module, by name."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {
        node.name: ast.get_docstring(node) or ""
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("item", ITEMS)
def test_every_known_bug_has_its_test(item: str) -> None:
    number = item.split()[-1]
    for path, name in ITEMS[item]:
        tests = docstrings(path)
        assert name in tests, f"{item}: {path} has no {name}"
        if path.startswith(HERE):
            assert number in tests[name], f"{name} does not name {item}"


def test_no_test_names_a_bug_that_the_table_lacks() -> None:
    known = {item.split()[-1] for item in ITEMS}
    for path in (SAFETY, LIVENESS, RESTART, CATCHUP, EPOCHS):
        for name, text in docstrings(path).items():
            for number in re.findall(r"#\d+", text):
                assert number in known, f"{name} names {number}"


@pytest.mark.parametrize(
    "rule", [f"R{number}" for number in range(1, 13)] + [f"I{number}" for number in range(1, 14)]
)
def test_every_rule_has_its_place(rule: str) -> None:
    """commonware #3299, #2948, #2949, #1102: text and code drift apart unless rules are named."""
    sources = sorted((ROOT / "node/simplex").glob("*.py"))
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    assert re.search(rf"\b{rule}\b", text), f"node/simplex does not say where {rule} is"
