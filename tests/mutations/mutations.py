"""Ways to break the implementation, each with the fewest tests that must notice.

A mutation is caught by a test of the fault it concerns, where there is one that is fast: its
verdict in the table of faults is then flipped. Mutations that only show by chance, as rows that
are not sorted do in deadlocks, are no mutations here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CORE: Final = "layers/batch_core/batch_core"
ADAPTERS: Final = f"{CORE}/adapters"
LABORATORIES: Final = "tests/faults/"

ANSWERS: Final = "tests/faults/test_api_answers.py"
OUTAGE: Final = "tests/faults/test_api_outage.py"
REACH: Final = "tests/faults/test_api_reach.py"
TENANTS: Final = "tests/unit/batchctl_tenants"
VERSIONS: Final = "tests/template/test_versions.py"
VERIFY: Final = "tests/unit/batchctl_deploy/test_verify.py"
LOCKS: Final = "tests/faults/test_database_locks.py"
DATABASE_OUTAGES: Final = "tests/faults/test_database_outages.py"
SCHEMA: Final = "tests/faults/test_database_schema.py"
PAYLOADS: Final = "tests/faults/test_payloads.py"
ORDER: Final = "tests/faults/test_stream_order.py"
STREAM_OUTAGES: Final = "tests/faults/test_stream_outages.py"
POISON: Final = "tests/faults/test_stream_poison.py"
PRODUCER: Final = "tests/faults/test_stream_producer.py"
HOSTILE_API: Final = "tests/contract/test_api_client_hostile.py"
ROW_STORE: Final = "tests/contract/test_row_store.py"
RUN_LEDGER: Final = "tests/contract/test_run_ledger.py"
SCHEMA_STORE: Final = "tests/contract/test_schema_store.py"
CONNECTION: Final = "tests/contract/test_mysql_connection.py"
COLUMN_KINDS: Final = "tests/contract/test_column_kinds.py"
USER_SOURCE: Final = "tests/contract/test_user_source.py"
TABLE_FAULTS: Final = "tests/unit/test_table_faults.py"
API_RULES: Final = "tests/unit/test_api_rules.py"
BREAKER: Final = "tests/unit/test_breaker.py"
CAUTION: Final = "tests/unit/test_caution.py"
ADMISSION: Final = "tests/unit/test_admission.py"
SIMULATED: Final = "tests/unit/test_simulated_runs.py"
API_CLIENT: Final = "tests/contract/test_api_client_breaker.py"
CALL_API: Final = "tests/unit/test_call_api.py"
BACK_OFF: Final = "tests/unit/test_back_off.py"
RUN: Final = "tests/unit/test_run.py"
CLAIMS: Final = "tests/unit/test_claims.py"
CODEC: Final = "tests/unit/test_codec.py"
RECORDS: Final = "tests/unit/test_records.py"
RETRY: Final = "tests/unit/test_retry.py"
FINISH_RUN: Final = "tests/unit/test_finish_run.py"
LIST_USERS: Final = "tests/unit/test_list_users.py"
PROCESS_USERS: Final = "tests/unit/test_process_users.py"
WRITE_ROWS: Final = "tests/unit/test_write_rows.py"
MYSQL_ERRORS: Final = "tests/unit/test_mysql_errors.py"
WHOSE_FAULT: Final = "tests/contract/test_whose_fault.py"
GONE: Final = "tests/contract/test_gone.py"
HOSTILE_RECORDS: Final = "tests/contract/test_hostile_records.py"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One edit of one file.

    Parameters
    ----------
    name
        What is wrong afterwards.
    faults
        The faults of the table that it concerns.
    file
        What is edited, from the root of the checkout.
    old, new
        Text that stands there once, and what takes its place.
    caught_by
        The tests that must fail, all of them; one without its parameters with any of these.
    """

    name: str
    faults: tuple[int, ...]
    file: str
    old: str
    new: str
    caught_by: tuple[str, ...]

    @property
    def verdicts(self) -> set[int]:
        """The faults whose verdict must flip: none if a test outside the laboratories catches."""
        return set(self.faults) if self.caught_by[0].startswith(LABORATORIES) else set()


API_MUTATIONS: Final = (
    Mutation(
        "Retry-After is not obeyed",
        (1,),
        f"{CORE}/retry.py",
        "    pause = setback.retry_after\n",
        "    pause = None\n",
        (
            (
                f"{OUTAGE}::test_a_retry_after_is_obeyed_where_it_fits_and_left_to_the_next_run"
                "_where_not"
            ),
        ),
    ),
    Mutation(
        "a Retry-After with a fraction is not read",
        (1,),
        f"{CORE}/retry.py",
        r"[0-9]+(\.[0-9]+)?",
        "[0-9]+",
        (f"{RETRY}::test_seconds_and_dates_are_read[0.493-1.0]",),
    ),
    Mutation(
        "a 403 that says when to ask again rejects",
        (1,),
        f"{CORE}/api_rules.py",
        "    if turned_away:\n",
        "    if turned_away and status == 429:\n",
        (
            (
                f"{API_RULES}::test_a_refusal_that_says_when_to_ask_again_throttles_and_rejects"
                "_nobody"
            ),
        ),
    ),
    Mutation(
        "only the request's etag may be answered with 304",
        (13,),
        f"{CORE}/api_rules.py",
        'frozenset({"if-none-match", "if-modified-since"})',
        'frozenset({"if-none-match"})',
        (f"{API_RULES}::test_304_is_not_modified_to_whoever_asked_for_it[request_2]",),
    ),
    Mutation(
        "numbers of answers are read as doubles",
        (10,),
        f"{CORE}/codec.py",
        "    return number if Decimal(repr(number)) == exact else exact\n",
        "    return number\n",
        (f"{CODEC}::test_a_number_is_read_with_all_its_digits_and_written_with_them",),
    ),
    Mutation(
        "records are read as doubles",
        (10,),
        f"{CORE}/records.py",
        "            fields = parse_exact(plain)\n",
        "            pass\n",
        (f"{RECORDS}::test_every_number_keeps_all_its_digits_on_its_way_into_sql",),
    ),
    Mutation(
        "NaN inside a list becomes null",
        (10,),
        f"{CORE}/codec.py",
        "            return not isfinite(value)\n",
        "            return False\n",
        (f"{CODEC}::test_what_is_no_number_is_found_however_deep",),
    ),
    Mutation(
        "a second attempt of a group sends every POST again",
        (22,),
        f"{CORE}/call_api.py",
        " and not _is_first(run, name, store):",
        " and False:",
        (
            (
                f"{CALL_API}::test_what_must_not_be_sent_twice_is_not_sent_by_a_second_attempt_of"
                "_the_run"
            ),
        ),
    ),
    Mutation(
        "a retry of the listing changes the idempotency keys",
        (22,),
        f"{CORE}/call_api.py",
        'f"{run.id}/{user_id}"',
        'f"{run.prefix}/{user_id}"',
        (
            (
                f"{CALL_API}::test_each_attempt_of_a_run_has_the_same_key_for_a_user_and_the_next"
                "_run_another"
            ),
        ),
    ),
    Mutation(
        "small claims put their numbers into the state",
        (19,),
        f"{CORE}/claims.py",
        '{"kind": "inline", "text": plain.decode()}',
        '{"kind": "inline", "text": value}',
        (f"{CLAIMS}::test_no_number_of_a_value_is_a_number_of_the_state",),
    ),
    Mutation(
        "all answers of a group are held at once",
        (8,),
        f"{CORE}/answers.py",
        "if self._texts and self._size + len(text) > ANSWERS_PART_BYTES:",
        "if False:",
        (
            f"{CALL_API}::test_answers_that_are_too_much_for_one_part_go_to_s3_as_they_come",
            f"{CALL_API}::test_a_part_is_no_larger_than_allowed_unless_one_answer_is",
        ),
    ),
    Mutation(
        "the retries of a group have no budget",
        (2,),
        f"{CORE}/retry.py",
        "        if self._retries < 1:\n            return False\n",
        "",
        (f"{OUTAGE}::test_a_storm_is_not_multiplied_by_retries[503]",),
    ),
    Mutation(
        "the breaker never opens",
        (2, 5),
        f"{CORE}/breaker.py",
        "            self._left -= 1\n",
        "",
        (
            f"{OUTAGE}::test_behind_a_storm_the_rest_of_the_run_asks_nothing[503]",
            f"{OUTAGE}::test_a_revoked_key_stops_the_run_and_rejects_nobody[401]",
            f"{BREAKER}::test_an_api_that_answers_nobody_gets_no_more_than_these[result0]",
        ),
    ),
    Mutation(
        "the breaker stays open once it was, whoever fails",
        (3,),
        f"{CORE}/breaker.py",
        "            self.served, self._left = False, float(TRICKLE)\n",
        "            self._left = float(TRICKLE)\n",
        (
            f"{OUTAGE}::test_an_api_that_fails_for_nearly_everyone_is_an_outage_too",
            f"{BREAKER}::test_it_shuts_when_nine_of_ten_users_fail",
        ),
    ),
    Mutation(
        "users who are known to fail speak for the API",
        (),
        f"{ADAPTERS}/http.py",
        "counts=not tries and place not in self._doubtful)",
        "counts=not tries)",
        (f"{API_CLIENT}::test_users_who_are_known_to_fail_prove_nothing_about_the_api",),
    ),
    Mutation(
        "the first calls are made to neighbours",
        (),
        f"{ADAPTERS}/http.py",
        "            if others and not self._breaker.served:\n",
        "            if False:\n",
        (f"{SIMULATED}::test_bad_users_at_the_front_of_every_group_do_not_speak_for_the_others",),
    ),
    Mutation(
        "environments do not share what may be called in vain",
        (3,),
        f"{CORE}/caution.py",
        "    first = max((most - min(groups, most // 5)) // environments, 1)\n",
        "    first = most\n",
        (f"{CAUTION}::test_all_environments_together_stay_below_it",),
    ),
    Mutation(
        "a run whose API is down is judged by its percentages only",
        (3,),
        f"{CORE}/run_fault.py",
        "    if stopped and stopped * 100 > admitted * most:\n",
        "    if False:\n",
        (f"{FINISH_RUN}::test_who_is_held_back_on_purpose_does_not_dilute_an_outage",),
    ),
    Mutation(
        "the next run begins with the first late group, not with its first late user",
        (20,),
        f"{CORE}/finish_run.py",
        '        number = int(late[0].get("at", 1)) - 1\n',
        "        number = 0\n",
        (f"{FINISH_RUN}::test_the_next_run_begins_with_the_first_user_whose_turn_never_came",),
    ),
    Mutation(
        "groups do not shrink for a slow API",
        (20,),
        f"{CORE}/admission.py",
        "max(int(_WHOLE_GROUP_SECONDS * 1000 / last.user_ms), 1)",
        "group_size",
        (f"{ADMISSION}::test_a_group_is_small_enough_to_be_asked_as_a_whole[205-97]",),
    ),
    Mutation(
        "marks count although their run had a fault as a whole",
        (3,),
        f"{ADAPTERS}/mysql_users.py",
        "    AND (source.closed_at IS NULL OR source.fault IS NOT NULL)\n",
        "    AND source.closed_at IS NULL\n",
        (f"{RUN_LEDGER}::test_a_run_with_a_fault_as_a_whole_leaves_no_marks[mysql]",),
    ),
    Mutation(
        "4xx is tried again",
        (4,),
        f"{CORE}/api_rules.py",
        "    return Failure(Outcome.REJECTED, error)\n",
        "    return Setback(error)\n",
        (f"{ANSWERS}::test_what_the_api_denies_one_user_is_that_users_alone",),
    ),
    Mutation(
        "a revoked key rejects whoever was asked about",
        (5,),
        f"{CORE}/breaker.py",
        "        return Failure(Outcome.RETRY_LATER, other.error)\n",
        "        return other\n",
        (f"{OUTAGE}::test_a_revoked_key_stops_the_run_and_rejects_nobody[403]",),
    ),
    Mutation(
        "bodies have no limit on the wire",
        (8,),
        f"{ADAPTERS}/http_transfer.py",
        "from batch_core.limits import API_BODY_BYTES\n",
        "API_BODY_BYTES = 2**40\n",
        (f"{HOSTILE_API}::test_the_limit_of_a_body_is_exact[1-False]",),
    ),
    Mutation(
        "gzip is inflated without a limit",
        (8,),
        f"{CORE}/api_rules.py",
        "decompress(body, limit=API_BODY_BYTES, gzip=True)",
        "decompress(body, limit=2**40, gzip=True)",
        (f"{ANSWERS}::test_no_body_is_so_long_that_the_group_suffers",),
    ),
    Mutation(
        "certificates are not verified",
        (11,),
        f"{ADAPTERS}/http_transfer.py",
        "pycurl.SSL_VERIFYPEER: 1",
        "pycurl.SSL_VERIFYPEER: 0",
        (f"{REACH}::test_nobody_is_asked_about_at_a_server_that_cannot_be_trusted[self-signed]",),
    ),
    Mutation(
        "certificates of other hosts are good enough",
        (11,),
        f"{ADAPTERS}/http_transfer.py",
        "pycurl.SSL_VERIFYHOST: 2",
        "pycurl.SSL_VERIFYHOST: 0",
        (
            (
                f"{REACH}::test_nobody_is_asked_about_at_a_server_that_cannot_be_trusted"
                "[for another host]"
            ),
        ),
    ),
    Mutation(
        "a POST is sent on a kept connection, and again on another",
        (9,),
        f"{ADAPTERS}/http.py",
        "fresh=tries > 0 or not call.repeatable",
        "fresh=tries > 0",
        (
            f"{HOSTILE_API}::test_a_kept_connection_that_breaks_gets_no_effect_twice[reset]",
            f"{HOSTILE_API}::test_a_kept_connection_that_breaks_gets_no_effect_twice[hang_up]",
        ),
    ),
    Mutation(
        "redirects are followed",
        (12,),
        f"{ADAPTERS}/http_transfer.py",
        "pycurl.FOLLOWLOCATION: 0",
        "pycurl.FOLLOWLOCATION: 1",
        (f"{REACH}::test_redirects_lead_nowhere",),
    ),
    Mutation(
        "private addresses are allowed to everyone",
        (12,),
        f"{ADAPTERS}/http_addresses.py",
        "    return plain.is_global or allow_private\n",
        "    return True\n",
        (f"{REACH}::test_a_name_that_also_leads_inside_is_connected_to_outside_only[10.0.0.1]",),
    ),
    Mutation(
        "a path may climb out of the base URL",
        (12,),
        f"{CORE}/api_rules.py",
        '    return not {".", ".."}.intersection(decoded.split("/"))\n',
        "    return True\n",
        (f"{REACH}::test_ids_that_a_job_forgets_to_quote_are_refused",),
    ),
    Mutation(
        "a 304 that nobody asked for is a success",
        (13,),
        f"{CORE}/api_rules.py",
        "    if status == 304 and call.conditional:\n",
        "    if status == 304:\n",
        (f"{ANSWERS}::test_a_304_that_nobody_asked_for_changes_nothing_and_is_no_success",),
    ),
    Mutation(
        "the end of the run does not end the calls of a group",
        (14,),
        f"{CORE}/call_api.py",
        "    seconds = min(seconds - MARGIN_SECONDS, run.ends_at - now())\n",
        "    seconds -= MARGIN_SECONDS\n",
        (
            (
                f"{CALL_API}::test_the_api_gets_what_is_left_of_the_invocation_and_of_the_run"
                "[300-60-60]"
            ),
            f"{CALL_API}::test_without_time_nothing_is_read_or_asked_and_nobody_is_lost[30-0]",
        ),
    ),
)

RUN_MUTATIONS: Final = (
    Mutation(
        "a start in the future is let in",
        (17, 18),
        f"{CORE}/run.py",
        "    if at - started > CLOCK_SKEW:\n",
        "    if at - started > 10**6 * CLOCK_SKEW:\n",
        (f"{RUN}::test_a_start_is_refused_exactly_if_it_lies_beyond_the_skew_of_clocks",),
    ),
    Mutation(
        "a run has its slot's version, whatever was before",
        (16, 18),
        f"{ADAPTERS}/mysql_ledger.py",
        "max(slot.version, int(lease[1]) + 1)",
        "slot.version",
        (
            (
                f"{RUN_LEDGER}::test_a_lease_has_a_higher_version_than_the_one_before_whatever_its_slot"
                "[mysql]"
            ),
        ),
    ),
    Mutation(
        "an attempt that lost its lease ends the run",
        (15, 16),
        f"{ADAPTERS}/mysql_ledger.py",
        "            if not changed and not _holds(session, run):\n",
        "            if not changed and _holds(session, run):\n",
        (
            (
                f"{RUN_LEDGER}::test_an_attempt_whose_lease_was_given_again_neither_lists_nor_closes"
                "[mysql]"
            ),
        ),
    ),
    Mutation(
        "the lines of all attempts at a group count",
        (33,),
        f"{CORE}/balance.py",
        "            counted.append(max(fitting, key=_rows))\n",
        "            counted.extend(own)\n",
        (
            (
                f"{FINISH_RUN}::test_the_lines_of_an_attempt_that_was_superseded_do_not_fail_a_run"
                "_that_is_whole"
            ),
        ),
    ),
    Mutation(
        "a row that a newer run kept out is called stored",
        (33,),
        f"{ADAPTERS}/mysql_rows.py",
        "            if written < len(part):\n",
        "            if written < 0:\n",
        (
            (
                f"{ROW_STORE}::test_only_rows_that_were_written_are_stored_and_those_kept_out_are_"
                "unchanged[mysql]"
            ),
        ),
    ),
    Mutation(
        "a second delivery makes a stored row a kept one",
        (33,),
        f"{ADAPTERS}/mysql_rows.py",
        "LEAST(GREATEST(`stored`,VALUES(`stored`)),VALUES(`stored`)+VALUES(kept))",
        "VALUES(`stored`)",
        (f"{ROW_STORE}::test_a_record_delivered_again_does_not_turn_stored_into_kept[mysql]",),
    ),
    Mutation(
        "a replayed row is written whatever later runs found",
        (33,),
        f"{ADAPTERS}/mysql_rows.py",
        "if record.version < int(row[0])}",
        "if record.version < 0}",
        (
            (
                f"{ROW_STORE}::test_a_replayed_row_is_not_written_where_a_later_run_may_have_found_"
                "nothing_new[mysql-True]"
            ),
        ),
    ),
    Mutation(
        "an ETag is sent whatever is asked for",
        (13,),
        f"{CORE}/api_rules.py",
        "        if asked == fingerprint and ",
        "        if asked and ",
        (f"{API_RULES}::test_an_etag_is_sent_for_the_request_alone_that_it_answered",),
    ),
    Mutation(
        "a mark of the future holds its user back",
        (18,),
        f"{CORE}/back_off.py",
        "        if since < -CLOCK_SKEW:\n",
        "        if since > timedelta.max - CLOCK_SKEW:\n",
        (f"{BACK_OFF}::test_who_is_said_to_have_failed_in_the_future_is_asked",),
    ),
    Mutation(
        "a column is called by a word that MySQL reserves",
        (60,),
        f"{CORE}/schema/0001_ledger.sql",
        "  `stored` SMALLINT",
        "  stored SMALLINT",
        (
            f"{SCHEMA_STORE}::test_every_database_applies_the_files_of_each_job[mysql-job]",
            f"{SCHEMA_STORE}::test_every_database_applies_the_files_of_each_job[mysql-credit_score]",
        ),
    ),
    Mutation(
        "a reserved word is used as a name by the ledger",
        (60,),
        f"{ADAPTERS}/mysql_ledger.py",
        'f"{identifier(name)} = %s"',
        'f"{name} = %s"',
        (f"{RUN_LEDGER}::test_a_skipped_slot_may_be_taken_once_the_other_has_ended[mysql]",),
    ),
    Mutation(
        "a start that is delivered again is processed again",
        (15,),
        f"{ADAPTERS}/mysql_ledger.py",
        "            if known is not None and not known[0]:\n",
        "            if False:\n",
        (
            f"{RUN_LEDGER}::test_another_execution_of_the_same_slot_is_a_duplicate[mysql]",
            f"{RUN_LEDGER}::test_a_slot_that_was_opened_is_a_duplicate_for_ever[mysql]",
        ),
    ),
    Mutation(
        "a run does not give its lease back",
        (16,),
        f"{ADAPTERS}/mysql_ledger.py",
        '" l.expires_at = UTC_TIMESTAMP(3),"',
        '" l.expires_at = l.expires_at,"',
        (f"{RUN_LEDGER}::test_a_skipped_slot_may_be_taken_once_the_other_has_ended[mysql]",),
    ),
    Mutation(
        "a start is processed however late",
        (17,),
        f"{CORE}/list_users.py",
        "patience is not None and started",
        "False and started",
        (f"{LIST_USERS}::test_a_start_delivered_too_late_is_left_to_a_later_run",),
    ),
    Mutation(
        "the next run does not begin with those who were carried over",
        (20,),
        f"{CORE}/admission.py",
        "            self.next_user = user_id\n",
        "            self.next_user = None\n",
        (f"{LIST_USERS}::test_every_user_has_a_turn_however_few_fit_into_a_run",),
    ),
    Mutation(
        "a user who fails is asked every time",
        (21,),
        f"{CORE}/list_users.py",
        "back_off=None if start.everyone else back_off_of(settings)",
        "back_off=None",
        (f"{LIST_USERS}::test_a_user_who_failed_is_asked_less_and_less_often",),
    ),
    Mutation(
        "a user who is gone is taken for stored",
        (29,),
        f"{ADAPTERS}/mysql_rows.py",
        "            for line, error in isolate(lines[part], act, faults):\n",
        "            for line, error in isolate(lines[part], act, faults):\n"
        "                if isinstance(error, GoneError):\n"
        "                    continue\n",
        (f"{ROW_STORE}::test_a_deleted_user_is_never_resurrected[mysql]",),
    ),
    Mutation(
        "a group that fails is not caught",
        (40,),
        "statemachine/batch.asl.json",
        '"States.ALL"\n'
        "                      ],\n"
        '                      "Output": {\n'
        '                        "run": "{% $states.input.run %}",\n'
        '                        "chunk": "{% $states.input.chunk %}",\n'
        '                        "group": "{% $states.input.group %}",\n'
        '                        "state": "Call API"',
        '"States.Timeout"\n'
        "                      ],\n"
        '                      "Output": {\n'
        '                        "run": "{% $states.input.run %}",\n'
        '                        "chunk": "{% $states.input.chunk %}",\n'
        '                        "group": "{% $states.input.group %}",\n'
        '                        "state": "Call API"',
        (
            (
                f"{PAYLOADS}::test_the_users_of_an_object_that_is_gone_are_left_for_the_next_run"
                "[a chunk deleted]"
            ),
        ),
    ),
    Mutation(
        "a claim's content is not compared with its sha256",
        (41,),
        f"{CORE}/claims.py",
        "    if sha256(plain).hexdigest() != digest:\n",
        "    if not digest:\n",
        (
            (
                f"{PAYLOADS}::test_an_object_that_is_not_the_one_meant_is_never_used"
                "[a claim overwritten by valid answers]"
            ),
        ),
    ),
    Mutation(
        "a chunk is read whatever its ETag",
        (41,),
        f"{ADAPTERS}/s3.py",
        "        if etag is not None:\n",
        "        if etag is None:\n",
        (
            (
                f"{PAYLOADS}::test_an_object_that_is_not_the_one_meant_is_never_used"
                "[a chunk overwritten by other users]"
            ),
        ),
    ),
    Mutation(
        "a run ends before its rows have arrived",
        (43,),
        f"{CORE}/finish_run.py",
        "            if found.complete or left <= 0:\n",
        "            if found or left <= 0:\n",
        (
            (
                f"{FINISH_RUN}::test_rows_that_are_still_on_the_stream_are_waited_for_with_growing"
                "_pauses"
            ),
        ),
    ),
    Mutation(
        "a run whose rows never arrive ends completed",
        (43,),
        f"{CORE}/finish_run.py",
        '        status = "failed" if reason else "completed"\n',
        '        status = "completed"\n',
        (f"{FINISH_RUN}::test_rows_that_never_arrive_fail_the_run_and_silent_groups_are_named",),
    ),
    Mutation(
        "a run that could not list is looked back at without its execution",
        (),
        "batchctl/run/collect.py",
        'if line.get("execution") and line.get("error"):',
        "if False:",
        (
            (
                "tests/unit/batchctl_trace/test_timeline.py::"
                "test_a_run_that_could_not_list_is_told_with_what_the_database_said"
            ),
        ),
    ),
    Mutation(
        "the memory of an invocation begins with its parent's",
        (),
        f"{CORE}/observability.py",
        "int(found[1]) // 1024 if found else 0",
        '__import__("resource").getrusage(0).ru_maxrss // 1024',
        (
            (
                "tests/unit/test_observability.py::"
                "test_the_memory_of_an_invocation_is_its_own_and_not_its_parents"
            ),
        ),
    ),
)

STREAM_MUTATIONS: Final = (
    Mutation(
        "records that PutRecords refused are not put again",
        (31,),
        f"{ADAPTERS}/kinesis.py",
        "                refused.append(record)\n",
        "                pass\n",
        (f"{PRODUCER}::test_what_is_refused_to_the_end_is_an_error_that_counts_it[mysql]",),
    ),
    Mutation(
        "the version is assigned first",
        (33,),
        f"{CORE}/upsert.py",
        "[*names[1:], version]]",
        "[version, *names[1:]]]",
        (f"{ORDER}::test_a_whole_run_replayed_after_the_next_one_changes_nothing[mysql]",),
    ),
    Mutation(
        "an older row replaces a newer one",
        (33, 38),
        f"{CORE}/upsert.py",
        'f"{name}=IF({newer},VALUES({name}),{name})"',
        'f"{name}=VALUES({name})"',
        (
            f"{ORDER}::test_a_whole_run_replayed_after_the_next_one_changes_nothing[mysql]",
            f"{ORDER}::test_a_slow_lane_may_store_an_older_run_last_and_the_newer_rows_stay[mysql]",
        ),
    ),
    Mutation(
        "a record that is delivered again counts again",
        (33,),
        f"{ADAPTERS}/mysql_rows.py",
        "rejected=VALUES(rejected)",
        "rejected=rejected+VALUES(rejected)",
        (f"{ROW_STORE}::test_a_record_that_is_delivered_again_counts_once[mysql]",),
    ),
    Mutation(
        "a row that is refused counts as often as it comes",
        (34,),
        f"{ADAPTERS}/mysql_rows.py",
        "list({_name(record): record for record in records}.values())",
        "list(records)",
        (f"{POISON}::test_a_poison_row_that_arrives_twice_counts_once[mysql]",),
    ),
    Mutation(
        "records of another tenant are stored",
        (34,),
        f"{CORE}/write_rows.py",
        "        if record.tenant != self.tenant:\n",
        "        if not record.tenant:\n",
        (
            (
                f"{POISON}::test_a_poison_record_is_put_aside_and_the_records_around_it_are_stored"
                "[mysql-a record of another tenant]"
            ),
        ),
    ),
    Mutation(
        "a batch is acknowledged though the database did not take it",
        (35, 36),
        f"{CORE}/write_rows.py",
        "        rejected = self.rows.write(self.table, records, search=search)\n",
        "        try:\n"
        "            rejected = self.rows.write(self.table, records, search=search)\n"
        "        except Exception:\n"
        "            return\n",
        (
            (
                f"{STREAM_OUTAGES}::test_a_batch_waits_for_the_database_and_nothing_of_it_is_put_aside"
                "[mysql-the database cannot be connected to]"
            ),
            (
                f"{POISON}::test_write_rows_never_answers_what_the_mapping_takes_for_success_when"
                "_nothing_is_stored[mysql]"
            ),
        ),
    ),
    Mutation(
        "replayed records are entered in the account of their run",
        (37,),
        f"{ADAPTERS}/mysql_rows.py",
        "sorted((record for record in records if not record.replayed), key=_place)",
        "sorted(records, key=_place)",
        (
            (
                f"{ROW_STORE}::test_the_rows_of_a_replayed_record_are_stored_and_its_runs_account_stays_closed"
                "[mysql]"
            ),
        ),
    ),
)

DATABASE_MUTATIONS: Final = (
    Mutation(
        "the ledger's line is written in a transaction of its own",
        (46,),
        f"{ADAPTERS}/mysql_rows.py",
        "            _enter(session, unique, rejected, writer.kept)\n",
        '            session.execute(b"COMMIT")\n'
        '            session.execute(b"BEGIN")\n'
        "            _enter(session, unique, rejected, writer.kept)\n",
        (
            (
                f"{DATABASE_OUTAGES}::test_whether_or_not_a_lost_commit_happened_the_state_after_a_retry_is_the_same"
                "[mysql-after-40]"
            ),
        ),
    ),
    Mutation(
        "the victim of a deadlock gives up",
        (47,),
        f"{ADAPTERS}/mysql_connection.py",
        "                    if locked == LOCK_ATTEMPTS:\n",
        "                    if locked:\n",
        (f"{LOCKS}::test_the_victim_of_a_deadlock_writes_all_of_its_batch_again[mysql]",),
    ),
    Mutation(
        "the database has no patience with a failover",
        (49, 50),
        f"{ADAPTERS}/mysql_connection.py",
        "        deadline = self._clock() + self._patience_seconds\n",
        "        deadline = self._clock()\n",
        (
            (
                f"{DATABASE_OUTAGES}::test_a_server_that_a_failover_made_read_only_is_left_for_the_one_that"
                "_writes[mysql]"
            ),
            f"{DATABASE_OUTAGES}::test_a_server_without_a_free_connection_is_waited_for[mysql]",
        ),
    ),
    Mutation(
        "a connection to a server that became read-only is kept",
        (49,),
        f"{ADAPTERS}/mysql_connection.py",
        "            else:\n                self.discard()\n            raise\n",
        "            else:\n                self._roll_back()\n            raise\n",
        (
            (
                f"{DATABASE_OUTAGES}::test_a_server_that_a_failover_made_read_only_is_left_for_the_one_that"
                "_writes[mysql]"
            ),
        ),
    ),
    Mutation(
        "statements grow with the batch",
        (52,),
        f"{CORE}/upsert.py",
        "            if used > room and end > start:\n",
        "            if used > 1_000 * room and end > start:\n",
        (f"{SCHEMA}::test_statements_fit_into_small_packets[mysql]",),
    ),
    Mutation(
        "a rotated password is not asked for again",
        (54,),
        f"{ADAPTERS}/mysql_connection.py",
        "self._open(fresh=True)",
        "self._open(fresh=False)",
        (
            (
                f"{DATABASE_OUTAGES}::test_a_password_rotated_between_batches_is_asked_for_when_it_is"
                "_needed[mysql]"
            ),
        ),
    ),
    Mutation(
        "good rows are put aside when the tables do not fit",
        (56,),
        f"{CORE}/upsert.py",
        "    except faults as error:\n",
        "    except DatabaseError as error:\n",
        (
            (
                f"{SCHEMA}::test_tables_that_do_not_fit_fail_the_batch_and_put_no_good_row_aside"
                "[mysql-RENAME TO noted-1146-]"
            ),
        ),
    ),
    Mutation(
        "a second unique key is accepted",
        (59,),
        f"{CORE}/table_faults.py",
        "    if [key.columns for key in facts.unique_keys] != [(table.key,)]:\n",
        "    if not facts.unique_keys:\n",
        (f"{SCHEMA}::test_a_second_unique_key_is_refused_at_migration[mysql]",),
    ),
    Mutation(
        "a key that takes ids that differ for one is accepted",
        (),
        f"{CORE}/table_faults.py",
        "    if key.collation == exact and not padded:\n",
        "    if key.collation is not None:\n",
        (
            (
                f"{TABLE_FAULTS}::test_a_key_that_refers_to_another_table_may_have_the_collation"
                "_of_that_one"
            ),
        ),
    ),
    Mutation(
        "MySQL sorts all users behind a hash join",
        (),
        f"{ADAPTERS}/mysql_users.py",
        "SELECT /*+ NO_BNL(known) */ listed.*",
        "SELECT listed.*",
        (
            (
                f"{USER_SOURCE}::test_users_are_streamed_in_the_order_of_their_key_and_nothing_is"
                "_sorted[mysql-None-0]"
            ),
        ),
    ),
    Mutation(
        "a user that is listed twice is asked twice",
        (),
        f"{CORE}/admission.py",
        "        if user_id in self._recent:\n            return True\n",
        "",
        (
            (
                "tests/unit/test_admission.py::test_a_user_that_the_query_yields_again_is_rejected"
                "_once_more_and_asked_once"
            ),
        ),
    ),
    Mutation(
        "users keyed by bytes are not known by their marks",
        (),
        f"{ADAPTERS}/mysql_users.py",
        "    id_text = _ID_BYTES if of_bytes else _ID_TEXT\n",
        "    id_text = _ID_TEXT\n",
        (
            (
                f"{COLUMN_KINDS}::test_users_keyed_by_bytes_are_listed_known_and_taken_up_where_a_run"
                "_left_off[mysql]"
            ),
        ),
    ),
    Mutation(
        "a number in a JSON column is written as SQL has it",
        (),
        f"{CORE}/upsert.py",
        "if isinstance(value, bool | int | float | Decimal) else literal(value)",
        "if value == 0 else literal(value)",
        (f"{COLUMN_KINDS}::test_a_json_column_takes_every_json_value[mysql]",),
    ),
    Mutation(
        "a server that is not strict is written to",
        (),
        f"{ADAPTERS}/mysql_connection.py",
        '        if not STRICT_MODES & set(mode.split(",")):\n',
        "        if not mode:\n",
        (
            (
                f"{CONNECTION}::test_a_migration_of_a_server_that_is_not_strict_is_refused_and"
                "_changes_nothing[mysql]"
            ),
        ),
    ),
    Mutation(
        "a certificate that does not verify is waited out",
        (),
        f"{ADAPTERS}/mysql_connection.py",
        "            if mistrust := _mistrust(error):\n",
        "            if mistrust := '':\n",
        (f"{CONNECTION}::test_a_server_of_another_authority_is_refused_at_once[mysql]",),
    ),
)

DEPLOY_MUTATIONS: Final = (
    Mutation(
        "a build has the digests of the last",
        (),
        "batchctl/tenants/parameters.py",
        'digest({**told, "deployment": word})',
        "digest(told)",
        (
            (
                f"{VERSIONS}::test_a_build_can_be_deployed_again_whatever_became_of_the_last"
                "_deployment"
            ),
            (
                f"{TENANTS}/test_command.py::test_what_is_written_for_one_deployment_differs_in_the"
                "_digests_only"
            ),
        ),
    ),
    Mutation(
        "a pipeline has no room for the stage that starts the next",
        (),
        "batchctl/tenants/fleet.py",
        "ACTIONS_PER_PIPELINE - taken[1] - _NEXT[1]",
        "ACTIONS_PER_PIPELINE",
        (
            (
                f"{TENANTS}/test_pipeline.py::test_no_pipeline_is_larger_than_codepipeline_takes"
                "_and_nobody_is_left_out"
            ),
        ),
    ),
    Mutation(
        "CloudFormation may not look at the proxy that it makes",
        (),
        "access.yaml",
        "rds:*DBProx*",
        "rds:*DBProxy*",
        (
            (
                "tests/template/test_deploying_roles.py"
                "::test_a_role_may_do_all_that_cloudformation_calls[a tenant's]"
            ),
        ),
    ),
    Mutation(
        "the project that runs packages of others may deploy",
        (),
        "pipeline.yaml",
        ":role/batch-*-verify",
        ":role/batch-*-deploy",
        (
            (
                "tests/template/test_pipeline.py::test_the_project_that_runs_packages_of_others_can"
                "_act_as_nobody_who_deploys"
            ),
        ),
    ),
    Mutation(
        "a version is published for a parameter that its function does not get",
        (),
        "template.yaml",
        "        ${ProcessUsersMemory}\n",
        "        ${ProcessUsersMemory} ${ApiConcurrency}\n",
        (
            (
                f"{VERSIONS}::test_a_parameter_publishes_the_functions_that_get_it_and_no_others"
                "[ApiConcurrency-bare]"
            ),
        ),
    ),
)

VERIFY_MUTATIONS: Final = (
    Mutation(
        "a deployment is verified by a run that asks only who is due",
        (),
        "batchctl/commands/verify.py",
        "_now(), everyone=True)",
        "_now())",
        (f"{VERIFY}::test_everybody_is_asked_also_who_failed_before",),
    ),
    Mutation(
        "a run in which nobody was asked speaks for a deployment",
        (),
        "batchctl/commands/verify.py",
        "    if verdict.listed and not verdict.served:\n",
        "    if verdict.listed and not verdict.outcomes:\n",
        (f"{VERIFY}::test_a_run_in_which_nobody_was_asked_speaks_for_nothing",),
    ),
    Mutation(
        "an alarm that rang before a deployment speaks against it",
        (),
        "batchctl/alarms.py",
        "_began(each) >= self._since",
        "True",
        (
            (
                f"{VERIFY}::test_an_alarm_that_rang_before_the_deployment_is_told_apart_from_one"
                "_that_began_since"
            ),
        ),
    ),
    Mutation(
        "doctor follows a redirect with the tenant's token",
        (),
        "batchctl/doctor/gather.py",
        "[_NoRedirects()]",
        "[]",
        (
            (
                "tests/unit/batchctl_doctor/test_gather.py"
                "::test_the_api_is_asked_with_the_tenants_secret_which_no_redirect_gets[302]"
            ),
        ),
    ),
)

FAULTS_MUTATIONS: Final = (
    Mutation(
        "an error of a class of data that no list of numbers has is taken for unknown",
        (),
        f"{ADAPTERS}/mysql_errors.py",
        '        "22",  # a value that does not fit\n',
        "",
        (f"{MYSQL_ERRORS}::test_each_error_has_its_class[DataError-1365-22012]",),
    ),
    Mutation(
        "a trigger's number wins over its class",
        (),
        f"{ADAPTERS}/mysql_errors.py",
        "    if sqlstate[:2] == _SIGNAL:\n",
        "    if sqlstate[:2] == _SIGNAL and number not in _BY_NUMBER:\n",
        (
            (
                f"{WHOSE_FAULT}::test_what_a_row_sets_off_is_that_rows_fault"
                "[mariadb-a trigger refuses with the number of an outage]"
            ),
        ),
    ),
    Mutation(
        "an error's text is told with what it quotes of a row",
        (),
        f"{ADAPTERS}/mysql_errors.py",
        '    return _DIGITS.sub("#", _QUOTED.sub("\'...\'", text))\n',
        '    return _DIGITS.sub("#", text)\n',
        (f"{MYSQL_ERRORS}::test_the_text_of_an_error_holds_nothing_of_the_row",),
    ),
    Mutation(
        "a search puts rows aside for a table that takes none",
        (),
        f"{ADAPTERS}/mysql_rows.py",
        "        except DatabaseError:\n            return False\n",
        "        except DatabaseError:\n            return True\n",
        (
            (
                f"{WHOSE_FAULT}::test_what_the_table_refuses_of_everyone_puts_no_row_aside_however"
                "_long_it_lasts[mariadb-a column is gone]"
            ),
        ),
    ),
    Mutation(
        "a search keeps what a trigger did about the row that was tried",
        (),
        f"{ADAPTERS}/mysql_rows.py",
        '                self._session.execute(b"ROLLBACK TO SAVEPOINT batch_search")\n',
        "                pass\n",
        (
            (
                f"{WHOSE_FAULT}::test_a_search_leaves_nothing_of_what_a_trigger_did_about_the_row"
                "_it_tried[mariadb]"
            ),
        ),
    ),
    Mutation(
        "a search goes on although the transaction is gone",
        (),
        f"{ADAPTERS}/mysql_rows.py",
        "                    self._require_transaction()\n",
        "                    pass\n",
        (
            (
                f"{WHOSE_FAULT}::test_nothing_is_written_behind_an_error_that_took_the_transaction"
                "_with_it[mariadb]"
            ),
        ),
    ),
    Mutation(
        "a record that fails holds up the others of its batch",
        (),
        f"{CORE}/write_rows.py",
        "                undone = self._write_one_by_one(batch, error, old=old) or undone\n",
        "                undone = error\n",
        (
            (
                f"{WRITE_ROWS}::test_a_record_that_may_be_at_fault_holds_up_no_other_record_of_its"
                "_batch"
            ),
        ),
    ),
    Mutation(
        "an attempt in vain takes no time",
        (),
        f"{CORE}/write_rows.py",
        "            self.sleep(max(started + ATTEMPT_SECONDS - self.now(), 0.0))\n",
        "",
        (
            (
                f"{WRITE_ROWS}::test_an_attempt_in_vain_takes_its_share_of_the_hour_that_the"
                "_mapping_tries_for"
            ),
        ),
    ),
    Mutation(
        "a version in capitals is taken for a column",
        (),
        f"{CORE}/write_rows.py",
        "names = [self.table.version.lower(), *(column.lower() for column in record.columns)]",
        "names = [self.table.version, *record.columns]",
        (f"{HOSTILE_RECORDS}::test_a_hostile_record_is_put_aside_like_any_other",),
    ),
    Mutation(
        "any foreign key means that the user is gone",
        (),
        f"{ADAPTERS}/mysql_rows.py",
        "            if key is None:\n",
        "            if key is None and not parents.keys:\n",
        (f"{GONE}::test_a_foreign_key_that_is_not_the_users_is_a_value_of_the_row[mariadb]",),
    ),
    Mutation(
        "a user who is listed again stays gone",
        (),
        f"{ADAPTERS}/mysql_rows.py",
        "            elif str(row.row[0]) in known[version]:\n",
        "            elif row.row[0] in known[version]:\n",
        (
            (
                f"{GONE}::test_a_user_who_is_listed_again_was_not_gone_and_the_run_knows_the_foreign"
                "_key[mariadb]"
            ),
        ),
    ),
    Mutation(
        "a listing that fails reads on",
        (),
        f"{CORE}/list_users.py",
        "with closing(self.users.users(self.query, start=lease.start)) as candidates:",
        "for candidates in [self.users.users(self.query, start=lease.start)]:",
        (
            (
                f"{LIST_USERS}::test_a_chunk_that_cannot_be_written_ends_the_reading_and_closes_the"
                "_run"
            ),
        ),
    ),
    Mutation(
        "a quarantine ends when the ledger forgets its run",
        (),
        f"{ADAPTERS}/mysql_ledger.py",
        "(max(keep_days, MARK_DAYS), _FORGET_ROWS)",
        "(keep_days, _FORGET_ROWS)",
        (
            (
                f"{GONE}::test_old_marks_are_found_by_an_index_and_outlive_the_longest_quarantine"
                "[mariadb]"
            ),
        ),
    ),
    Mutation(
        "the class of an error is what was said",
        (),
        f"{CORE}/failures.py",
        "kind = (outcome, known(error))",
        "kind = (outcome, error)",
        ("tests/unit/test_failures.py::test_the_line_stays_short_whatever_goes_wrong",),
    ),
    Mutation(
        "a job's text is not cut",
        (),
        f"{CORE}/error_classes.py",
        "        return cut(str(error))\n",
        "        return str(error)\n",
        (
            (
                f"{PROCESS_USERS}::test_what_a_job_raises_is_one_word_in_the_log_and_a_short_text"
                "_in_the_mark"
            ),
        ),
    ),
)

MUTATIONS: Final = (
    *API_MUTATIONS,
    *RUN_MUTATIONS,
    *STREAM_MUTATIONS,
    *DATABASE_MUTATIONS,
    *DEPLOY_MUTATIONS,
    *VERIFY_MUTATIONS,
    *FAULTS_MUTATIONS,
)
