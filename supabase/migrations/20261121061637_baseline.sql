-- compiled from sql/ by `flowstate db compile`: edit sql/ and compile, not this file
-- source sql/functions/activity.sql sha256:e86a75a38169b6061d10656be80b7e711630d35b0fb25b691b602c46646cb2d6
--   creates function private.current_actor() shape:15d364941c2cc66b
--   creates function private.current_address() shape:4e328503f8f48401
--   creates function private.activity_content_hash(public.user_activity_logs) shape:5e2c47aaa9c34764
--   creates function private.activity_hash(bytea, bigint, public.user_activity_logs) shape:dd2228e3db12dc4c
--   creates function private.record_activity(text, uuid, text, text, jsonb) shape:0497cea79f55ea3d
--   creates function private.audit_change() shape:42bd38fb441dfefb
--   creates trigger audit_change on public.subscription_tiers
--   creates trigger audit_change on public.user_profiles
--   creates trigger audit_change on public.user_limit_overrides
--   creates trigger audit_change on public.role_permissions
--   creates trigger audit_change on public.load_balancer_config
--   creates trigger audit_change on public.apps_script_owners
--   creates trigger audit_change on public.apps_script_instances
--   creates trigger audit_change on public.flows
--   creates trigger audit_change on public.flow_schedules
--   creates function public.record_user_activity(uuid, text, text, text, jsonb) shape:5c7eef8431b7c627
-- source sql/functions/activity_chain.sql sha256:80a658f044460de29ab68277ed1b08edc6bc11f3c69d6ee2804c6101dacbba59
--   creates function private.chain_activity(integer) shape:6f6d20b3f18c58d9
--   creates function private.move_activity_horizon(text) shape:7a05c2a4021c5901
--   creates function public.verify_activity(bigint, integer) shape:cad51485e538d3b4
-- source sql/functions/admission.sql sha256:4089869b95a79e05f218f8dc5fe8e4b29a46b7f73987e6890f4a122b83211aba
--   creates function private.check_enqueue_arguments(jsonb, text, timestamp with time zone, integer, text) shape:af85d23382c499eb
--   creates function private.admit_executions(uuid[], jsonb[], text[], timestamp with time zone[], integer[], text[], uuid) shape:ce339d65e6d54bbb
-- source sql/functions/cancel.sql sha256:3e567328b46f61990de06a79c01b61885b3e719b55166ba41dbb605e11a72d12
--   creates function public.cancel_flow_execution(uuid) shape:d4436ca31e8c4b4e
-- source sql/functions/claim.sql sha256:d3c50975a881b3c732f45130bf7e2a59730cc92045c5ddf68fa2e542152daa9b
--   creates function private.promote_due(integer) shape:6f6d20b3f18c58d9
--   creates function private.free_slots(integer) shape:b52168b1267e1542
--   creates function private.choose_executions(text, integer, integer) shape:b4aa9862fddbd7a5
--   creates function public.claim_flow_executions(text, integer, integer) shape:56b4865c7cc86993
-- source sql/functions/enqueue.sql sha256:ab4ea214b00dd0cd933bc4d48c2d089a6c8ae6df30c4d777842f0fe52a5a4ba4
--   creates function public.enqueue_flow_execution(uuid, jsonb, text, timestamp with time zone, integer, text) shape:09dbb260d58c6267
--   creates function private.limit_headers(text, integer, integer, integer, integer) shape:8f0b7f33072875d7
--   creates function private.raise_limit_reached(text, integer, integer, integer) shape:46ee6e502a3d1841
--   creates function public.enqueue_flow_executions(jsonb) shape:0a69199c7be51edb
-- source sql/functions/flow_validation.sql sha256:26c11bf944abc6b5a9c1583317628c6a966fc266851dd03e3c58cb463d9dbc0d
--   creates function private.flow_step_arguments() shape:7fbb9b5e84e801e2
--   creates function private.validate_flow_step(jsonb, text, text[]) shape:2fc57f4da08f1c35
--   creates function private.is_integer_between(jsonb, bigint, bigint) shape:235f83cfc00f9fdc
--   creates function public.validate_flow_definition(jsonb) shape:a274fc43e36d6f21
--   creates function private.check_flow() shape:42bd38fb441dfefb
--   creates trigger check_flow on public.flows
--   creates function private.keep_flow_version() shape:42bd38fb441dfefb
--   creates trigger keep_flow_version on public.flows
-- source sql/functions/google_tokens.sql sha256:002703fd1cdc4ebcc978d6c06e36103baa7bf0809c6af0eeffd5f1e904932745
--   creates function private.is_sealed(text) shape:e9e5b9e799651275
--   creates function private.check_google_user_ids(uuid[]) shape:99d52ff8ff57ca81
--   creates function public.store_google_tokens(uuid, text, text, text, integer, text[]) shape:8ba30c1f54a1d1a9
--   creates function public.get_google_tokens(uuid[]) shape:b863557f2b4787a0
--   creates function private.forget_google(uuid) shape:121441215a2768fa
--   creates function public.disconnect_google(uuid) shape:4f3c04b383ecf425
--   creates function public.get_my_google_connection() shape:14e0ef03c63a6b4d
--   creates function public.disconnect_my_google() shape:14e0ef03c63a6b4d
-- source sql/functions/google_tokens_keys.sql sha256:6d3d95e7b58db01cca37cffd04ab49b3b824644e4fa5e4a41e28644de6bd3eba
--   creates function public.claim_google_tokens_to_reseal(text, integer, uuid) shape:5949ae9d53ed180e
--   creates function public.finish_google_token_reseals(jsonb) shape:38bbf48c2e116b61
--   creates function private.has_vault() shape:1a1980c4463e88f4
--   creates function public.get_google_token_keys() shape:14e0ef03c63a6b4d
--   creates function public.get_google_token_status() shape:14e0ef03c63a6b4d
-- source sql/functions/google_tokens_refresh.sql sha256:15ceeb8c2131093e5d0e5f648a2e8bae009c1c3c10d7b7e673d18e81b3a8ced2
--   creates function private.next_run_of(uuid) shape:4739e5d5d95d4492
--   creates function public.claim_google_token_refreshes(text, integer, integer, integer, uuid[]) shape:cc006b76840945f0
--   creates function private.check_google_results(jsonb) shape:fb389fad621ee5e9
--   creates function public.finish_google_token_refreshes(jsonb) shape:57489e088cd73a47
--   creates function private.google_retry_at(integer, double precision) shape:af0ae6261be0bc8b
-- source sql/functions/ids_and_time.sql sha256:8623b9189b762692ec7fe5018cc25f3424075061de55fbfd90ea6a8de7d34b98
--   creates function private.new_execution_id() shape:0ca6f22006927369
--   creates function private.execution_id_time(uuid) shape:c3e0bbee01ee2cdf
--   creates function private.touch_updated_at() shape:42bd38fb441dfefb
--   creates trigger touch_updated_at on public.subscription_tiers
--   creates trigger touch_updated_at on public.user_profiles
--   creates trigger touch_updated_at on public.flow_schedules
--   creates trigger touch_updated_at on public.apps_script_owners
--   creates trigger touch_updated_at on public.apps_script_instances
--   creates trigger touch_updated_at on public.load_balancer_config
--   creates trigger touch_updated_at on private.google_tokens
-- source sql/functions/instances.sql sha256:4980ff83d2d32eb955a7a2eeaa68d3697fcdea435799d06d8bbe704190830507
--   creates function private.check_instance() shape:42bd38fb441dfefb
--   creates trigger check_instance on public.apps_script_instances
-- source sql/functions/limit_overrides.sql sha256:90dc7ea77714da50c83a2d302757bbae9f4519bae2954090ac510700adbba426
--   creates function private.refresh_queue_rows(uuid[]) shape:99d52ff8ff57ca81
--   creates function private.apply_override_to_queue() shape:42bd38fb441dfefb
--   creates trigger apply_override_to_queue on public.user_limit_overrides
--   creates function private.end_overrides() shape:7264d89dfa245e46
-- source sql/functions/limit_windows.sql sha256:6bcb1d0249239fb872243e4fd89dbeb3c39092b79cc14036e1668e2cf8a98d67
--   creates function private.count_since(uuid, uuid, timestamp with time zone, timestamp with time zone, bigint) shape:29b0a244083c2d0d
--   creates function private.closed_spans(uuid, uuid, timestamp with time zone, bigint, integer, integer) shape:ed978f0762c2ffa2
--   creates function private.opens_at(tstzmultirange, timestamp with time zone) shape:4351b8766f15a235
--   creates function private.forget_counts() shape:42bd38fb441dfefb
--   creates trigger forget_counts_of_deleted on public.rate_limit_tracking
--   creates trigger forget_counts_of_changed on public.rate_limit_tracking
-- source sql/functions/maintenance.sql sha256:a2e31970572410efb17a15e3b8817282fd12c4efdd4cbab8a29734fd0a40d485
--   creates function private.prune_idempotency_keys(integer) shape:6f6d20b3f18c58d9
--   creates function private.prune_processors() shape:7264d89dfa245e46
--   creates function public.maintain_queue() shape:14e0ef03c63a6b4d
-- source sql/functions/messages.sql sha256:3ce901ce78978ae689851416ae58dbcd57bba95a36ae7e5bf94a1d3a6f38a667
--   creates function private.plain(text, integer) shape:d6222ac9e61b783b
-- source sql/functions/my_executions.sql sha256:a8b2f926f667b5f95bf5bac49b482a6b12696822e453132b3bc1c57da2e8bf51
--   creates function public.list_my_executions(timestamp with time zone, integer) shape:700e7bd4dffaa6a1
-- source sql/functions/partitions.sql sha256:bbdbf6872093c0387c4861cc16435069116004ec0a18aea8d531d49e15659254
--   creates function private.partitions_of(text) shape:54fe9f2be6e2d551
--   creates function private.make_partition(text, timestamp with time zone, timestamp with time zone) shape:aed7f6c66e9652f5
--   creates function private.drop_partition(text, text) shape:18c4106ea8184d77
--   creates function private.partition_gaps(private.partition_policies) shape:1807531e80a2dc18
--   creates function private.maintain_partitions() shape:14e0ef03c63a6b4d
-- source sql/functions/permissions.sql sha256:d167fc1a897e2fff17c1dee473577b255131a408ca60e45b24ed7fc0f9bca670
--   creates function private.is_service() shape:1a1980c4463e88f4
--   creates function public.has_permission(text) shape:ddde10f80f48aeea
--   creates function private.require_permission(text) shape:d34e0e2e3e7e282b
-- source sql/functions/processors.sql sha256:4921849fa06d9ac10da53f67e7300a24429432f62c67759c73f48e79754c38aa
--   creates function public.register_queue_processor(text, text, text, integer) shape:122ac0a471fa3f48
--   creates function public.heartbeat_flow_executions(text, integer, jsonb) shape:e557f16abfb2f56b
-- source sql/functions/retention.sql sha256:a6e42d96fbfd027e8701eb0bca4a7cb77227bb5a2f140a8d6b4cc6830269f779
--   creates function private.follow_rewrite() shape:42bd38fb441dfefb
--   creates function private.begin_rewrite() shape:c8e441b5407d6a97
--   creates function private.abandon_rewrite(text) shape:36e1dde49b5f9d3d
--   creates function private.columns_of(regclass) shape:01281f0d7e043c14
--   creates function private.copy_history(interval, integer) shape:82e171233c2d1c96
--   creates function private.blocks_of(text) shape:e69cc823a8d74a36
--   creates function private.exchange_history() shape:15d364941c2cc66b
-- source sql/functions/session_context.sql sha256:03595eb2ce8252d4099631b22f95ee55b097bfb073c7414ed650561a4ebe9830
--   creates function private.find_session(uuid) shape:531dd6c7b03748f9
--   creates function private.hold_context(uuid) shape:af502da2d187ee90
--   creates function private.hold_open_session(uuid) shape:531dd6c7b03748f9
--   creates function private.active_at(timestamp with time zone) shape:db17b9c83e1fe884
--   creates function private.refuse_command(integer) shape:7b1e1769f96776af
--   creates function public.record_command(uuid, text, jsonb, text, integer, uuid, integer) shape:9f7b683941cfdd92
--   creates function public.save_context_snapshot(uuid, jsonb, integer) shape:356756fdc216b052
--   creates function public.get_context_snapshot(uuid, integer) shape:bc88c5a5f965cfc3
--   creates function public.delete_context_snapshots(uuid, integer) shape:b1cc22b29d2687ad
-- source sql/functions/sessions.sql sha256:ae3b7a4737cea11ef84d6ba99ca29986b01b696294457641d4c0a60c3923eb4d
--   creates function public.start_session(text, jsonb, uuid, uuid) shape:22b7d66fc7868dd1
--   creates function public.close_session(uuid) shape:281675bf2c3a73ee
--   creates function public.delete_session(uuid) shape:281675bf2c3a73ee
--   creates function private.prune_sessions(integer) shape:6f6d20b3f18c58d9
-- source sql/functions/settle.sql sha256:0cca74f0c52864bc171434ddfceb3df5f48d1064d0ffbc7b630eb1fbd467cdc5
--   creates function private.retry_delay(integer, numeric) shape:2ff6a895450e47dc
--   creates function private.settle_executions(jsonb, boolean) shape:24496afca64d61ba
--   creates function private.check_results(jsonb) shape:fb389fad621ee5e9
--   creates function private.is_number_between(jsonb, numeric, numeric) shape:d33cfeffdfe4b9bf
--   creates function private.leases_as_results(jsonb, text) shape:3ad8c88f70c0aaaa
--   creates function public.finish_flow_executions(jsonb) shape:3635c7cc840f5284
--   creates function public.release_flow_executions(jsonb, text) shape:fc1518a5cca484b1
--   creates function public.rescue_expired_executions(integer) shape:68958204056bd414
-- source sql/functions/sign_ins.sql sha256:518110faccee3c4901a82e19dbb0f08e513b41a90a211f5e3a8c676cd0b25c45
--   creates function public.custom_access_token_hook(jsonb) shape:ba3bf9d7a0211b82
--   creates function public.revoke_session(uuid) shape:281675bf2c3a73ee
--   creates function public.revoke_all_sessions(uuid, boolean) shape:ced9d3bc4e553b19
--   creates function private.end_sessions(uuid, uuid[]) shape:b41fe8c7bc0cca69
--   creates function private.end_sign_ins(integer) shape:6f6d20b3f18c58d9
-- source sql/functions/staff.sql sha256:f54ecf3eec823ac92978b2c936da71509fa0275d1a4d8f499b16a73984399d19
--   creates function private.begin_admin_action(text, uuid, text) shape:758debcbfe9ec9b7
--   creates function private.require_reason(text) shape:a3fa4347dcb50249
--   creates function private.user_state(public.user_profiles) shape:e4b492e81026020e
--   creates function private.user_summary(uuid) shape:4f3c04b383ecf425
--   creates function private.keep_an_owner() shape:42bd38fb441dfefb
--   creates trigger keep_an_owner on public.user_profiles
-- source sql/functions/status.sql sha256:5466a0eb8f8032a7b2eda1c239aedfdfd81b53962b2788e6f92ccad61ccf65b2
--   creates function public.get_flow_execution_status(uuid) shape:d4436ca31e8c4b4e
--   creates function public.get_queue_status() shape:14e0ef03c63a6b4d
-- source sql/functions/support.sql sha256:8a2c895d9948dcc859e850baa6f74092f34e47af06e2b4606cc42b24e351ec3f
--   creates function public.list_users(text, text, text, text, uuid, integer) shape:336229630e2102ca
--   creates function private.begin_support_read(text, uuid, text, text) shape:7b71d155822f2242
--   creates function public.get_user(uuid, text) shape:9ae7bee480e0c697
--   creates function public.get_user_executions(uuid, text, timestamp with time zone, integer) shape:bd531ed539846c11
--   creates function public.get_user_activity(uuid, text, timestamp with time zone, integer) shape:d3a83b9fdd4d0ee0
-- source sql/functions/tiers.sql sha256:378a4a027f4552740c677f72d7f2e21d87d1e6e7f06c2f717cb400f99b5c5621
--   creates function public.set_tier(text, jsonb, text) shape:93f3820c1bdc3481
--   creates function public.remove_tier(text, text) shape:afecc28a7f3a12dc
-- source sql/functions/usage.sql sha256:50ff5fd775edb199154d055b246c0a011c1a5df73e61f2164937d309e0f5c0b1
--   creates function private.usage_of(uuid) shape:4f3c04b383ecf425
--   creates function public.get_my_usage() shape:14e0ef03c63a6b4d
--   creates function public.get_usage_by_tier() shape:c5df4c9edc608db8
-- source sql/functions/user_admin.sql sha256:5d03bca84cea663d6fd513a47102395de9f10c56caaf8f0b3ef62b1717cdfda8
--   creates function public.set_user_tier(uuid, text, text) shape:b120f442e064fa21
--   creates function public.set_user_role(uuid, text, text) shape:b37dd96bff97f113
--   creates function private.check_limits(jsonb, jsonb) shape:98fab85766c11cb2
--   creates function private.override_ranges() shape:14e0ef03c63a6b4d
--   creates function public.set_user_override(uuid, jsonb, timestamp with time zone, text) shape:81d0bd040a7a9ce9
--   creates function public.clear_user_override(uuid, text) shape:9ae7bee480e0c697
--   creates function private.stop_running(uuid) shape:2ee858cb68b901fc
--   creates function public.suspend_user(uuid, text) shape:5880fade48623a17
--   creates function public.resume_user(uuid, text) shape:9ae7bee480e0c697
-- source sql/functions/user_deletion.sql sha256:96d9ef1bd4a5cc47321379dfa012b8327933d2aba0e2f4da50f06005bbb6b793
--   creates function private.note_erasure() shape:42bd38fb441dfefb
--   creates trigger note_erasure on auth.users
--   creates function private.erase_user(uuid, integer) shape:0764b1803f3e5b49
--   creates function private.erase_history(integer) shape:6f6d20b3f18c58d9
--   creates function private.finish_deletion() shape:7264d89dfa245e46
--   creates function public.delete_user(uuid, text) shape:5880fade48623a17
-- source sql/functions/user_export.sql sha256:404959da442d0bd2e43874ea7439b8f900d8de29a8ecdc14484ff5e2cc7238a0
--   creates function private.export_datasets() shape:88c325640609acd6
--   creates function public.export_user_data(uuid, text, jsonb, integer) shape:f302dd837bb9fd8d
-- source sql/functions/users.sql sha256:26e5c9b4a6ab5d4f59e76342186a23c5a93f7ecb1e46939e4934bc396faf03bd
--   creates function private.create_user_profile() shape:42bd38fb441dfefb
--   creates trigger create_user_profile on auth.users
--   creates function private.apply_profile_to_queue() shape:42bd38fb441dfefb
--   creates trigger apply_profile_to_queue on public.user_profiles
--   creates function private.apply_tier_to_queue() shape:42bd38fb441dfefb
--   creates trigger apply_tier_to_queue on public.subscription_tiers
-- source sql/functions/wake_workers.sql sha256:d0e66ace9777bab9156ae7618b44f4cbdaee5d00f4fb533fc15ba3d30eb7c627
--   creates function private.wake_workers() shape:db165b522d93e309
-- source sql/views/effective_limits.sql sha256:4731b61e0e1ceafbb3a57179f540727b6318f8e3aeebcb29c7651c0f58f196cb
--   creates view private.effective_limits shape:0843298fcc0d93e6
-- source sql/views/flow_executions.sql sha256:d76690bbee892f5540266186cf41bb551147eaddf0b5f4c3c6b149b800016f09
--   creates view public.flow_executions shape:76db9b0957339a11
-- source sql/indexes/flow_execution_queue.sql sha256:235c5e1b7fc7a1697c22accb7847e0803ccd9c557ef8b5466c828d7cfa4b312c
--   creates index public.flow_execution_queue_heads shape:1203f4317ce26b88
--   creates index public.flow_execution_queue_scheduled shape:99949544aa77e52f
--   creates index public.flow_execution_queue_running shape:4d3086ee3e6f0e38
--   creates index public.flow_execution_queue_user shape:bfabea97b06ccc22
--   creates index public.flow_execution_queue_flow shape:aea753dd159b03a5
-- source sql/indexes/google_tokens.sql sha256:adc4c17ce5210a5685797a22cf034626bfd197a9a0e210bc4e7a3453cb3ec0eb
--   creates index private.google_tokens_due shape:1535887a65e15ecf
-- source sql/indexes/history.sql sha256:4a5bca95a1b9723abefb22c10e4fc97b950f2b759be8491dbb21a340ef0b91fb
--   creates index public.execution_logs_user shape:47d1eda2c5ce680f
--   creates index public.execution_logs_flow shape:3294666237597798
--   creates index public.dead_letters_user shape:68d081df47430952
--   creates index public.user_activity_logs_user shape:0e834107a6d9bba7
--   creates index public.user_activity_logs_time shape:522763c71eb58fd7
--   creates index public.user_activity_logs_position shape:2a93304723633d27
--   creates index public.user_activity_logs_unchained shape:74575510cdb6c5fb
--   creates index public.instance_health_status_instance shape:915c4575e7d35f7a
--   creates index public.performance_metrics_name shape:1d6f61a7a61660f5
--   creates index public.system_health_checks_component shape:8254ffab3f64da8a
--   creates index public.error_reports_user shape:8f4fcf201aa3d228
--   creates index public.error_reports_fingerprint shape:769fddcef4a1b40e
-- source sql/indexes/rate_limit_tracking.sql sha256:89d385d84e0a0ae4522db754f29d2559a90b22b96ecb61fe454cce6e9fb4a03c
--   creates index public.rate_limit_tracking_flow shape:f6c2fd90e9935cb9
-- source sql/indexes/session_context.sql sha256:6593e43e61e312fd21988378859003c48089c983437eda968abad5b057e761ed
--   creates index public.sessions_user shape:82b6f66388ddf6cb
--   creates index public.sessions_idle shape:a2a2781b3714614b
--   creates index public.command_history_user shape:7b95ffc408c1c2bb
--   creates index public.context_snapshots_user shape:d23ba9e616a429b4
-- source sql/indexes/user_queue.sql sha256:8189d4bdc185c203ce1aaf973855e11c44b943dec94e57f679162d8d4eb30713
--   creates index private.user_queue_claimable shape:6679b4679f4d3e95
-- source sql/indexes/users_and_flows.sql sha256:45d8a9669ea439bbd3d7ef92a3c2ad64c2848eeeb8d7ab96aa43b167970257ca
--   creates index public.user_profiles_tier shape:8228b8a855080763
--   creates index public.user_profiles_staff shape:21a8710477d8a16b
--   creates index public.user_profiles_deleting shape:db7e1bae76b8de7f
--   creates index public.user_limit_overrides_end shape:fea0eb90b076a2f7
--   creates index public.user_sessions_user shape:2a5ff3a21250f89b
--   creates index public.user_sessions_open shape:a87534c0654bfce7
--   creates index public.user_sessions_ended shape:63bb0bca3ca0442f
--   creates index public.flow_versions_user shape:4ab8d28c06d3849e
--   creates index public.flow_schedules_user shape:48ba0566d98c056a
--   creates index public.flow_schedules_flow shape:97f925c5730e47f8
--   creates index public.flow_schedules_due shape:dace87eed2276ae3
--   creates index public.apps_script_instances_owner shape:00da38814ba1c37c
--   creates index private.idempotency_keys_created shape:f55ee249b0ff687c
-- source sql/policies/apps_script_instances.sql sha256:585b64378e740d542dd3420687f94b9ac9c92c1f60266342d04816803e8d04b0
-- source sql/policies/apps_script_owners.sql sha256:ac9a77bca2edba98c55ef5e14db294fb3c9a216275583298f2bd3f41fc24b582
-- source sql/policies/command_history.sql sha256:3d9f16f0fc72da76bdcad9d812ff30c7c51d8444f80f22a67d026905796db41f
--   creates policy "users read their own" on public.command_history
-- source sql/policies/context_snapshots.sql sha256:1eb09134d99f914bb990f3f030c6ef256cdf38ad687705ddf23edcb0f42084a6
--   creates policy "users read their own" on public.context_snapshots
-- source sql/policies/database.sql sha256:1706b5cc2e8d5e762d5439383f9e12902f3e2b6817a4be94da1e6655b11c9c24
-- source sql/policies/dead_letters.sql sha256:cd00b3f1912813285b6c36753c4d19a5597ebcb3941e159db62e4c071f50db71
--   creates policy "users read their own" on public.dead_letters
-- source sql/policies/error_reports.sql sha256:4e881c621a916ec8c489ab886dbb398b0fbee5a2f0f3664717ed0a19b515d3f3
--   creates policy "users read their own" on public.error_reports
-- source sql/policies/execution_logs.sql sha256:271ebf5907c7303ae382268642cc9750ff49806b9482f23b9e7c5330e19fe598
--   creates policy "users read their own" on public.execution_logs
-- source sql/policies/flow_execution_queue.sql sha256:2fafc9a0bc9c39e4da898f674797fe6373773847c790bc723ceaddcc78a337c0
--   creates policy "users read their own" on public.flow_execution_queue
-- source sql/policies/flow_schedules.sql sha256:666512698f07275e7915441ef3d8c4873f91b778619774361aa48da377227816
--   creates policy "users read their own" on public.flow_schedules
--   creates policy "users insert their own" on public.flow_schedules
--   creates policy "users update their own" on public.flow_schedules
--   creates policy "users delete their own" on public.flow_schedules
-- source sql/policies/flow_versions.sql sha256:f03aadf69d8b633ee90993b4cb8ee17dcbded8728980ced44e013e08e945c805
--   creates policy "users read their own" on public.flow_versions
-- source sql/policies/flows.sql sha256:bd3e5e27eba202d90573de9b7d839d04c64425cabdb84677a744e00d80547392
--   creates policy "users read their own" on public.flows
--   creates policy "users insert their own" on public.flows
--   creates policy "users update their own" on public.flows
--   creates policy "users delete their own" on public.flows
-- source sql/policies/google_tokens.sql sha256:32862352c2b41f83213fbe4c532bbf8cc10f8cb7ba76bb8e0d80ff1beb49c7ec
-- source sql/policies/instance_health_status.sql sha256:4245e6c854b05945cc7b31a547f0dff5f95b98933038fa961594f3d8e75ac78c
-- source sql/policies/load_balancer_config.sql sha256:a054e90f9e4b167c0d07b50d4df7c12265bcc7f02a41612026d1b2c568c8a6aa
-- source sql/policies/performance_metrics.sql sha256:c87ad99e036745f564b4f93e9399c2ce1048f06890f2698bf1161761a60f15bf
-- source sql/policies/private.sql sha256:fbebbdc0d86aaac074aca52db5250b07c323c4acf1d9e72922be21983dbb08a8
-- source sql/policies/queue_processors.sql sha256:26e24d4006215b6e0007c959fce5c8fcafe45809e0e0da71eb9c9ad280019745
-- source sql/policies/rate_limit_tracking.sql sha256:b225c97f2ab59eae4818ca1bb1bcdfa3e1546687caa44a6c4a6b4569ce4b60ae
--   creates policy "users read their own" on public.rate_limit_tracking
-- source sql/policies/realtime_messages.sql sha256:4a4c073604d2c9b74e1e955f31cd4fc88306ccd26a00d82542c7bb43353cf3a8
--   creates policy "users hear their own channel" on realtime.messages
--   creates policy "operators hear ops" on realtime.messages
-- source sql/policies/role_permissions.sql sha256:3b2ec205cebbb8c52c468b1fea642f306f816fca59e8bf8ab7718c712f59ee9b
--   creates policy "everyone signed in reads them" on public.role_permissions
-- source sql/policies/sessions.sql sha256:ecc0e615a572667419bf31cf190c57ceb8ceb761aa275584a3fb5e641a224580
--   creates policy "users read their own" on public.sessions
-- source sql/policies/subscription_tiers.sql sha256:58ece76476f9fe7cc82b75711b99253192e90a45f924bb30763a8ec2ff32f360
--   creates policy "users read all tiers" on public.subscription_tiers
-- source sql/policies/system_health_checks.sql sha256:bdb8aac6eb21e5e571e13d87ddee6a2edf876f207806fe51b871d98be257404a
-- source sql/policies/user_activity_logs.sql sha256:a1d0bbf0d553e4d5a71c9df9e339a10685c219031885aec30dced44de3003a3b
--   creates policy "users read their own" on public.user_activity_logs
-- source sql/policies/user_limit_overrides.sql sha256:b7e50a59346ca40cdd8c3d27e343db1f98783926131802d36772fbc086e69fdd
--   creates policy "users read their own" on public.user_limit_overrides
-- source sql/policies/user_profiles.sql sha256:96032f380ed824d6f114c8952c8a1a122251e77531a34766e4d3a85303d8f897
--   creates policy "users read their own" on public.user_profiles
-- source sql/policies/user_sessions.sql sha256:df0b606a54de8414c2fa39ca3745bb140efc7fafd4b0fa6c103d0c84aba31642
--   creates policy "users read their own" on public.user_sessions

select set_config('check_function_bodies', 'off', true);

-- sql/functions/activity.sql
-- The trail: who did what to what, from where. Rows are added here and nowhere else, and chained by hashes.

create or replace function private.current_actor() returns text
language sql
stable
set search_path = ''
as $$
  select case
    when auth.uid() is not null
      then coalesce((select p.role from public.user_profiles p where p.user_id = auth.uid()), 'user')
    -- A service may say who is behind it; what it says is kept to plain characters.
    when auth.role() = 'service_role' then rtrim('service ' || left(regexp_replace(coalesce(
           nullif(current_setting('request.headers', true), '')::jsonb ->> 'x-flowstate-actor', ''),
           '[^A-Za-z0-9@._-]', '', 'g'), 100))
    when session_user = 'authenticator' then coalesce(auth.role(), 'anon')
    when session_user = 'supabase_auth_admin' then 'auth'
    else 'database'
  end
$$;
comment on function private.current_actor() is
'Who acts: a role for a signed-in person, service with the name it gives, auth for the sign-in server, database for a direct connection.';

create or replace function private.current_address() returns inet
language plpgsql
stable
set search_path = ''
as $$
begin
  -- As reported by the proxies in front; the first is the client.
  return trim(split_part(nullif(current_setting('request.headers', true), '')::jsonb ->> 'x-forwarded-for', ',', 1))::inet;
exception
  when invalid_text_representation then
    return null;
end
$$;
comment on function private.current_address() is 'Where the request came from, as the gateway reports it; null when it does not.';

create or replace function private.activity_content_hash(entry public.user_activity_logs) returns bytea
language sql
stable
set search_path = ''
as $$
  select sha256(entry.salt || convert_to(jsonb_build_array(
    entry.user_id, entry.actor_id, entry.actor, entry.object_id, entry.details, host(entry.address))::text, 'UTF8'))
$$;
comment on function private.activity_content_hash(public.user_activity_logs) is 'Hash over what an erasure takes.';

create or replace function private.activity_hash(previous bytea, chain_position bigint, entry public.user_activity_logs)
returns bytea
language sql
stable
set search_path = ''
as $$
  select sha256(previous || convert_to(jsonb_build_array(
    activity_hash.chain_position, entry.id, extract(epoch from entry.occurred_at), entry.action, entry.object_type,
    encode(entry.content_hash, 'hex'))::text, 'UTF8'))
$$;
comment on function private.activity_hash(bytea, bigint, public.user_activity_logs) is
'Hash of a place in the chain: over the place before it and all of the row that stays for ever.';

create or replace function private.record_activity(
  action text, user_id uuid, object_type text, object_id text, details jsonb
)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_entry public.user_activity_logs;
begin
  v_entry.id := gen_random_uuid();
  v_entry.user_id := record_activity.user_id;
  v_entry.actor_id := auth.uid();
  v_entry.actor := private.current_actor();
  v_entry.action := record_activity.action;
  v_entry.object_type := record_activity.object_type;
  v_entry.object_id := record_activity.object_id;
  v_entry.details := jsonb_strip_nulls(
    coalesce(record_activity.details, '{}')
    || jsonb_build_object('reason', left(nullif(current_setting('flowstate.reason', true), ''), 500)));
  v_entry.address := private.current_address();
  v_entry.occurred_at := clock_timestamp();
  v_entry.salt := uuid_send(gen_random_uuid());
  v_entry.content_hash := private.activity_content_hash(v_entry);
  insert into public.user_activity_logs select v_entry.*;
end
$$;
comment on function private.record_activity(text, uuid, text, text, jsonb) is
'Adds a row to the trail. Actor, address and reason are found by itself.';

create or replace function private.audit_change() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  -- Arguments: what the object is called; its key; the column with its user, or nothing; and whether values are told.
  v_before jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - 'updated_at' end;
  v_after jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - 'updated_at' end;
  v_row jsonb := coalesce(v_after, v_before);
  v_user uuid := (v_row ->> nullif(tg_argv[2], ''))::uuid;
  v_changed text[];
begin
  -- A user who is going takes everything along: that is one event, not one for each row.
  if tg_op = 'DELETE' and v_user is not null
     and not exists (select 1 from public.user_profiles p where p.user_id = v_user) then
    return null;
  end if;
  select array_agg(k.key order by k.key) into v_changed
    from jsonb_object_keys(v_row) k(key)
   where tg_op <> 'UPDATE' or v_before -> k.key is distinct from v_after -> k.key;
  if v_changed is null then
    return null;
  end if;
  perform private.record_activity(
    tg_argv[0] || case tg_op when 'INSERT' then '.created' when 'UPDATE' then '.changed' else '.removed' end,
    v_user, tg_argv[0], v_row ->> tg_argv[1],
    case when tg_argv[3] = 'names' then jsonb_build_object('fields', v_changed)
         else jsonb_build_object(
           'before', (select jsonb_object_agg(k.key, v_before -> k.key) from unnest(v_changed) k(key) where v_before is not null),
           'after', (select jsonb_object_agg(k.key, v_after -> k.key) from unnest(v_changed) k(key) where v_after is not null))
    end);
  return null;
end
$$;
comment on function private.audit_change() is
'Trigger: records a change with before and after, whichever door it came through, Studio included. Of flows only the names of fields.';

create or replace trigger audit_change after insert or update or delete on public.subscription_tiers
for each row execute function private.audit_change('tier', 'tier', '', 'values');
create or replace trigger audit_change after insert or update of tier, role, suspended_at, deletion_requested_at
on public.user_profiles for each row execute function private.audit_change('user', 'user_id', 'user_id', 'values');
create or replace trigger audit_change after insert or update or delete on public.user_limit_overrides
for each row execute function private.audit_change('override', 'user_id', 'user_id', 'values');
create or replace trigger audit_change after insert or update or delete on public.role_permissions
for each row execute function private.audit_change('permission', 'permission', '', 'values');
create or replace trigger audit_change after insert or update or delete on public.load_balancer_config
for each row execute function private.audit_change('balancer', 'id', '', 'values');
create or replace trigger audit_change after insert or delete or update of account_type, max_in_flight
on public.apps_script_owners for each row execute function private.audit_change('owner', 'owner', '', 'values');
create or replace trigger audit_change
after insert or delete or update of name, owner, url, kind, key_id, state, weight, max_in_flight
on public.apps_script_instances for each row execute function private.audit_change('instance', 'name', '', 'values');
create or replace trigger audit_change after insert or update or delete on public.flows
for each row execute function private.audit_change('flow', 'id', 'user_id', 'names');
create or replace trigger audit_change
after insert or delete or update of kind, cron, interval_seconds, time_zone, input, catch_up, jitter_seconds, paused_at
on public.flow_schedules for each row execute function private.audit_change('schedule', 'id', 'user_id', 'names');

create or replace function public.record_user_activity(
  user_id uuid, action text, object_type text default null, object_id text default null, details jsonb default '{}'
)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  if action is null or action !~ '^[a-z_]+[.][a-z_]+$' or length(action) > 100 then
    raise sqlstate 'PT400' using message = 'action must look like invoice.sent: lower-case words joined by one dot, at most 100 characters';
  elsif details is null or jsonb_typeof(details) <> 'object' or octet_length(details::text) > 8192 then
    raise sqlstate 'PT400' using message = 'details must be a JSON object of at most 8192 bytes';
  elsif length(object_type) > 100 or length(object_id) > 200 then
    raise sqlstate 'PT400' using message = 'object_type has at most 100 characters, object_id at most 200';
  elsif not exists (select 1 from public.user_profiles p where p.user_id = record_user_activity.user_id) then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', record_user_activity.user_id);
  end if;
  perform private.record_activity(action, record_user_activity.user_id, object_type, object_id, details);
end
$$;
comment on function public.record_user_activity(uuid, text, text, text, jsonb) is
'Adds an event of the product to a user''s trail. Never put content of mail or secrets into details. Service role only.';

revoke execute on function private.current_actor() from public;
revoke execute on function private.current_address() from public;
revoke execute on function private.activity_content_hash(public.user_activity_logs) from public;
revoke execute on function private.activity_hash(bytea, bigint, public.user_activity_logs) from public;
revoke execute on function private.record_activity(text, uuid, text, text, jsonb) from public;
revoke execute on function private.audit_change() from public;
revoke execute on function public.record_user_activity(uuid, text, text, text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.record_user_activity(uuid, text, text, text, jsonb) to service_role;

-- sql/functions/activity_chain.sql
-- The chain over the trail: a row that is changed, taken out or put in between shows. Rows are chained in batches, so
-- that whoever records something waits for nobody.

create or replace function private.chain_activity(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_head private.activity_chain;
  v_entry public.user_activity_logs;
  v_ids uuid[] := '{}';
  v_moments timestamptz[] := '{}';
  v_positions bigint[] := '{}';
  v_hashes bytea[] := '{}';
begin
  -- One at a time; who comes second finds it being done.
  if not pg_try_advisory_xact_lock(7305151, 3) then
    return 0;
  end if;
  select * into v_head from private.activity_chain;
  for v_entry in
    select * from public.user_activity_logs l where l.chain_position is null order by l.occurred_at, l.id limit most
  loop
    v_head.chain_position := v_head.chain_position + 1;
    v_head.hash := private.activity_hash(v_head.hash, v_head.chain_position, v_entry);
    v_ids := v_ids || v_entry.id;
    v_moments := v_moments || v_entry.occurred_at;
    v_positions := v_positions || v_head.chain_position;
    v_hashes := v_hashes || v_head.hash;
  end loop;
  if cardinality(v_ids) = 0 then
    return 0;
  end if;
  update public.user_activity_logs l
     set chain_position = c.chain_position, hash = c.hash
    from unnest(v_ids, v_moments, v_positions, v_hashes) c(id, occurred_at, chain_position, hash)
   where l.id = c.id and l.occurred_at = c.occurred_at;
  update private.activity_chain c set chain_position = v_head.chain_position, hash = v_head.hash;
  return cardinality(v_ids);
end
$$;
comment on function private.chain_activity(integer) is 'Gives rows of the trail their place in the chain, the oldest first.';

create or replace function private.move_activity_horizon(partition_name text) returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_position bigint;
  v_hash bytea;
begin
  execute format('select l.chain_position, l.hash from partitions.%I l where l.chain_position is not null
                   order by l.chain_position desc limit 1', partition_name) into v_position, v_hash;
  update private.activity_chain c set horizon = v_position, horizon_hash = v_hash where c.horizon < v_position;
end
$$;
comment on function private.move_activity_horizon(text) is
'Before a partition of the trail is dropped: the chain is verified from its last position on.';

create or replace function public.verify_activity(after_position bigint default null, max integer default 1000)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_chain private.activity_chain;
  v_from bigint;
  v_from_hash bytea;
  v_checked record;
  v_broken jsonb;
begin
  perform private.require_permission('activity.verify');
  if max is null or max not between 1 and 10000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 10000, not %s', max);
  end if;
  if after_position is null then
    perform private.chain_activity(10000);
  end if;
  -- Nothing is chained between this look at the head and the one at the rows: that would look like a changed end.
  select * into v_chain from private.activity_chain for share;
  v_from := greatest(after_position, v_chain.horizon);
  if v_from = v_chain.horizon then
    v_from_hash := v_chain.horizon_hash;
  else
    select l.hash into v_from_hash from public.user_activity_logs l where l.chain_position = v_from;
    if not found then
      raise sqlstate 'PT404' using message = format('after_position: there is no position %s', v_from),
        hint = format('The chain reaches from %s to %s.', v_chain.horizon + 1, v_chain.chain_position);
    end if;
  end if;

  with entries as (
    select s.entry, lag(s.chain_position, 1, v_from) over chain as position_before,
           lag(s.hash, 1, v_from_hash) over chain as hash_before
      from (select l as entry, l.chain_position, l.hash from public.user_activity_logs l
             where l.chain_position > v_from order by l.chain_position limit max) s
    window chain as (order by s.chain_position)
  ),
  judged as (
    select (e.entry).*,
           case
             when (e.entry).chain_position <> e.position_before + 1 then 'a row before it is missing or double'
             when (e.entry).erased_at is null
                  and private.activity_content_hash(e.entry) is distinct from (e.entry).content_hash
               then 'its content was changed'
             when private.activity_hash(e.hash_before, (e.entry).chain_position, e.entry) is distinct from (e.entry).hash
               then 'the row, or the one before it, was changed'
           end as problem
      from entries e
  )
  select count(*) as n, max(j.chain_position) as last_position,
         (array_agg(j.hash order by j.chain_position desc))[1] as last_hash,
         count(j.erased_at) as erased,
         (select jsonb_build_object('position', b.chain_position, 'id', b.id, 'problem', b.problem)
            from judged b where b.problem is not null order by b.chain_position limit 1) as broken
    into v_checked
    from judged j;
  v_broken := v_checked.broken;
  if v_broken is null and v_checked.n < max
     and (coalesce(v_checked.last_position, v_from), coalesce(v_checked.last_hash, v_from_hash))
         is distinct from (v_chain.chain_position, v_chain.hash) then
    v_broken := jsonb_build_object('position', v_chain.chain_position, 'id', null,
                                   'problem', 'the end of the chain is missing or was changed');
  end if;
  return jsonb_build_object(
    'ok', v_broken is null, 'checked', v_checked.n, 'erased', v_checked.erased,
    'first_position', v_chain.horizon + 1,
    'last_position', coalesce(v_checked.last_position, v_from),
    'last_hash', encode(coalesce(v_checked.last_hash, v_from_hash), 'hex'),
    'broken', v_broken,
    'unchained', (select count(*) from (select 1 from public.user_activity_logs l where l.chain_position is null limit 100000) u),
    'done', v_broken is not null or v_checked.n < max);
end
$$;
comment on function public.verify_activity(bigint, integer) is
'Verifies a stretch of the trail''s chain; call it again with after_position = last_position until done. Needs activity.verify.';

revoke execute on function private.chain_activity(integer) from public;
revoke execute on function private.move_activity_horizon(text) from public;
revoke execute on function public.verify_activity(bigint, integer) from public, anon, authenticated, service_role;
grant execute on function public.verify_activity(bigint, integer) to authenticated, service_role;

-- sql/functions/admission.sql
-- Admission: the one way into the queue, for one execution or a thousand.

create or replace function private.check_enqueue_arguments(
  input jsonb, idempotency_key text, run_at timestamptz, priority integer, on_limit text
) returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return case
    when input is null or jsonb_typeof(input) <> 'object'
      then format('input must be a JSON object, not %s', coalesce(jsonb_typeof(input), 'null'))
    when octet_length(input::text) > 65536
      then format('input has %s bytes; at most 65536 (64 KB) are allowed', octet_length(input::text))
    when idempotency_key is not null and length(idempotency_key) not between 1 and 200
      then format('idempotency_key has %s characters; 1 to 200 are allowed', length(idempotency_key))
    when run_at is not null and (not isfinite(run_at) or run_at > clock_timestamp() + interval '366 days')
      then 'run_at must be a moment at most 366 days ahead'
    when priority is null or priority not between -100 and 100
      then format('priority must be an integer from -100 to 100, not %s', coalesce(priority::text, 'null'))
    when on_limit is null or on_limit not in ('refuse', 'defer')
      then format('on_limit must be refuse or defer, not %s', coalesce(quote_literal(private.plain(on_limit, 40)), 'null'))
  end;
end
$$;
comment on function private.check_enqueue_arguments(jsonb, text, timestamptz, integer, text) is
'What is wrong with the arguments of an enqueue; null when nothing is.';

create or replace function private.admit_executions(
  flow_ids uuid[], inputs jsonb[], idempotency_keys text[],
  run_ats timestamptz[], priorities integer[], on_limits text[], owner uuid default null
)
returns table (
  item integer, execution_id uuid, state text, run_at timestamptz, duplicate boolean,
  refused text, retry_after_seconds integer,
  limit_name text, limit_count integer, limit_seconds integer, remaining integer
)
language plpgsql
security definer
set search_path = ''
-- Planned once in a session, since planning takes longer than admitting one; and always as a walk from the items to the
-- rows they name, also where the plan is made while a table is empty.
set plan_cache_mode = 'force_generic_plan'
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  v_names constant text[] := '{hour_limit,day_limit,month_limit,flow_burst_limit,flow_hour_limit,flow_day_limit}';
  v_moment timestamptz;
  -- Per item: the place of its user in v_users, and what its flow says.
  v_item_users integer[];
  v_enabled boolean[];
  v_versions integer[];
  v_max_attempts integer[];
  -- Scopes are the users and, after them, the flows with limits of their own. Each has three windows: v_used[s][k]
  -- executions were accepted after v_from[s][k]. Before v_starts[s] nothing finds room, because of window v_holders[s].
  v_users uuid[];
  v_new boolean;
  v_stale uuid[];
  v_suspended boolean[];
  v_limited uuid[];
  v_limits integer[];
  v_seconds integer[];
  v_from timestamptz[];
  v_used bigint[];
  v_starts timestamptz[];
  v_holders integer[];
  -- The item at hand.
  s integer;
  v_scopes integer[];
  v_flow uuid;
  v_start timestamptz;
  v_since timestamptz;
  v_is_off boolean;
  v_spans tstzmultirange;
  v_closed tstzmultirange;
  v_latest timestamptz;
  v_holder integer;
  v_tightest integer;
  -- Per item: what was decided; n is in v_accepted, and in v_untracked until rate_limit_tracking has it.
  v_known uuid[];
  v_firsts integer[];
  v_ids uuid[] := '{}';
  v_accept_ats timestamptz[] := '{}';
  v_run_ats timestamptz[] := '{}';
  v_states text[] := '{}';
  v_flows uuid[] := '{}';
  v_accepted integer[] := '{}';
  v_untracked integer[] := '{}';
begin
  select array_agg(i.u order by i.n), array_agg(i.is_enabled order by i.n),
         array_agg(i.version order by i.n), array_agg(i.max_attempts order by i.n), bool_or(i.is_new),
         array_agg(distinct i.user_id order by i.user_id) filter (where i.user_id is not null),
         array_agg(distinct i.flow_id order by i.flow_id) filter (where i.is_limited)
    into v_item_users, v_enabled, v_versions, v_max_attempts, v_new, v_users, v_limited
    from (select i.n, i.flow_id, f.user_id, f.is_enabled, f.version, f.max_attempts,
                 f.user_id is not null and q.user_id is null as is_new,
                 case when f.user_id is not null then (dense_rank() over (order by f.user_id))::integer end as u,
                 coalesce(f.burst_limit, f.hour_limit, f.day_limit) is not null as is_limited
            from unnest(flow_ids) with ordinality i(flow_id, n)
            left join public.flows f on f.id = i.flow_id and (owner is null or f.user_id = owner)
            left join private.user_queue q on q.user_id = f.user_id) i;

  -- The row of each user is the gate of admission: made if new, then locked, in order of user_id.
  if v_new then
    insert into private.user_queue (user_id, tier, weight, max_running, suspended)
    select e.user_id, e.tier, e.weight, e.max_running, e.suspended
      from private.effective_limits e
     where e.user_id = any (v_users)
     order by e.user_id
    on conflict do nothing;
  end if;
  perform 1 from private.user_queue q where q.user_id = any (v_users) order by q.user_id for update;

  -- What decides is read after that.
  select array_agg(u.suspended), array_agg(u.limits), array_agg(array[3600, 86400, 2592000]),
         array_agg(array[u.hour_from, u.day_from, u.month_from]), array_agg(array[u.hour_used, u.day_used, u.month_used]),
         array_agg(case when u.full_for = u.limits then u.full_until end), array_agg(u.full_by),
         array_agg(u.user_id) filter (where u.is_stale)
    into v_suspended, v_limits, v_seconds, v_from, v_used, v_starts, v_holders, v_stale
    from (select u.user_id, e.suspended, array[e.hour_limit, e.day_limit, e.month_limit] as limits,
                 q.hour_from, q.hour_used, q.day_from, q.day_used, q.month_from, q.month_used,
                 q.full_until, q.full_for, q.full_by,
                 (q.tier, q.weight, q.max_running, q.suspended)
                 is distinct from (e.tier, e.weight, e.max_running, e.suspended) as is_stale
            from unnest(v_users) u(user_id)
            left join private.user_queue q on q.user_id = u.user_id
            left join private.effective_limits e on e.user_id = u.user_id
           order by u.user_id) u;
  if v_stale is not null then
    -- Who was idle missed the last change of the tier.
    perform private.refresh_queue_rows(v_stale);
  end if;
  if v_limited is not null then
    select v_limits || array_agg(f.limits), v_seconds || array_agg(f.seconds),
           v_from || array_agg(f.counted_from), v_used || array_agg(f.counted)
      into v_limits, v_seconds, v_from, v_used
      from (select array[f.burst_limit, f.hour_limit, f.day_limit] as limits,
                   array[f.burst_seconds, 3600, 86400] as seconds,
                   case when w is null then array_fill('-infinity'::timestamptz, array[3])
                        else array[w.burst_from, w.hour_from, w.day_from] end as counted_from,
                   case when w is null then array[0, 0, 0]
                        else array[w.burst_used, w.hour_used, w.day_used] end as counted
              from unnest(v_limited) l(flow_id)
              left join public.flows f on f.id = l.flow_id
              left join private.flow_windows w on w.flow_id = l.flow_id
             order by l.flow_id) f;
  end if;
  v_moment := clock_timestamp();
  if array_remove(idempotency_keys, null) <> '{}' then
    -- A key stands for its execution for a day, and among these items for the first that has it.
    select array_agg(i.execution_id order by i.n), array_agg(i.first_n order by i.n) into v_known, v_firsts
      from (select i.n, k.execution_id, case when i.idempotency_key is not null
                   then min(i.n) over (partition by v_item_users[i.n], i.idempotency_key) end as first_n
              from unnest(idempotency_keys) with ordinality i(idempotency_key, n)
              left join private.idempotency_keys k
                on k.user_id = v_users[v_item_users[i.n]] and k.idempotency_key = i.idempotency_key
               and k.created_at > v_moment - interval '1 day') i;
  end if;

  for n in 1 .. cardinality(flow_ids) loop
    item := n - 1;
    s := v_item_users[n];
    execution_id := coalesce(v_known[n], v_ids[v_firsts[n]]);
    duplicate := execution_id is not null;
    if duplicate then
      -- Not among the rows yet, if it came in this call.
      state := v_states[v_firsts[n]];
      run_at := v_run_ats[v_firsts[n]];
      if state is null then
        select q.state, q.run_at into state, run_at from public.flow_execution_queue q where q.id = v_known[n];
        state := coalesce(state, 'finished');
      end if;
      return next;
      continue;
    end if;
    state := null;
    run_at := null;
    retry_after_seconds := null;
    limit_name := null;
    limit_count := null;
    limit_seconds := null;
    remaining := null;
    refused := case when v_suspended[s] is null then 'unknown_flow'
                    when v_suspended[s] then 'suspended'
                    when not v_enabled[n] then 'flow_disabled' end;
    if refused is not null then
      return next;
      continue;
    end if;

    v_scopes := array[s];
    v_flow := null;
    if array_position(v_limited, flow_ids[n]) is not null then
      v_flow := flow_ids[n];
      s := cardinality(v_users) + array_position(v_limited, v_flow);
      v_scopes := v_scopes || s;
    end if;
    v_start := greatest(v_moment, v_starts[v_scopes[1]], v_starts[s]);
    v_holder := v_holders[case when v_start = v_starts[s] then s else v_scopes[1] end];
    v_latest := v_start;
    v_closed := '{}';
    v_tightest := null;
    foreach s in array v_scopes loop
      for k in 1 .. 3 loop
        continue when v_limits[s][k] is null;
        v_since := v_start - make_interval(secs => v_seconds[s][k]);
        -- A count from before the window is too high, which does no harm until it is near the limit. A user is told what
        -- remains, so theirs is never older than a hundredth of the window.
        v_is_off := v_from[s][k] is null or v_from[s][k] > v_since
                    or (v_from[s][k] < v_since and v_used[s][k] + 1 >= v_limits[s][k])
                    or (owner is not null and v_from[s][k] < v_since - make_interval(secs => v_seconds[s][k] / 100.0));
        continue when not v_is_off and v_used[s][k] < v_limits[s][k];
        if v_untracked <> '{}' then
          insert into public.rate_limit_tracking (user_id, accepted_at, execution_id, flow_id)
          select v_users[v_item_users[t.n]], v_accept_ats[t.n], v_ids[t.n], v_flows[t.n] from unnest(v_untracked) t(n);
          v_untracked := '{}';
        end if;
        if v_is_off then
          v_used[s][k] := private.count_since(
            v_users[v_item_users[n]], case when s > cardinality(v_users) then v_flow end,
            v_since, v_from[s][k], v_used[s][k]);
          v_from[s][k] := v_since;
        end if;
        if v_used[s][k] >= v_limits[s][k] then
          v_spans := private.closed_spans(
            v_users[v_item_users[n]], case when s > cardinality(v_users) then v_flow end,
            v_since, v_used[s][k], v_limits[s][k], v_seconds[s][k]);
          v_closed := v_closed + v_spans;
          if private.opens_at(v_spans, v_start) > v_latest then
            v_latest := private.opens_at(v_spans, v_start);
            v_holder := case when s > cardinality(v_users) then 3 + k else k end;
          end if;
        end if;
      end loop;
    end loop;
    v_accept_ats[n] := coalesce(private.opens_at(v_closed, v_start), v_start);
    if v_accept_ats[n] > v_start then
      v_starts[s] := v_accept_ats[n];
      v_holders[s] := v_holder;
    end if;

    -- As far ahead as run_at may be.
    if v_accept_ats[n] > v_moment and (on_limits[n] = 'refuse' or v_accept_ats[n] > v_moment + interval '366 days') then
      refused := v_names[v_holder];
    else
      execution_id := private.new_execution_id();
      run_at := greatest(v_accept_ats[n], run_ats[n]);
      state := case when run_at > v_moment then 'scheduled' else 'available' end;
      v_ids[n] := execution_id;
      v_run_ats[n] := run_at;
      v_states[n] := state;
      v_flows[n] := v_flow;
      v_accepted := v_accepted || n;
      v_untracked := v_untracked || n;
      foreach s in array v_scopes loop
        for k in 1 .. 3 loop
          v_used[s][k] := v_used[s][k] + 1;
          if v_limits[s][k] - v_used[s][k] <= coalesce(remaining, v_limits[s][k]) then
            remaining := v_limits[s][k] - v_used[s][k];
            v_tightest := case when s > cardinality(v_users) then 3 + k else k end;
          end if;
        end loop;
      end loop;
    end if;
    if v_accept_ats[n] > v_moment then
      v_tightest := v_holder;
      remaining := 0;
      retry_after_seconds := ceil(extract(epoch from v_accept_ats[n] - v_moment));
    end if;
    limit_name := v_names[v_tightest];
    s := v_scopes[case when v_tightest > 3 then 2 else 1 end];
    limit_count := v_limits[s][(v_tightest - 1) % 3 + 1];
    limit_seconds := v_seconds[s][(v_tightest - 1) % 3 + 1];
    return next;
  end loop;

  insert into public.flow_execution_queue
    (id, user_id, flow_id, flow_version, state, priority, max_attempts, run_at, idempotency_key, input)
  select v_ids[a.n], v_users[v_item_users[a.n]], flow_ids[a.n], v_versions[a.n], v_states[a.n], priorities[a.n],
         v_max_attempts[a.n], v_run_ats[a.n], idempotency_keys[a.n], inputs[a.n]
    from unnest(v_accepted) a(n);
  insert into public.rate_limit_tracking (user_id, accepted_at, execution_id, flow_id)
  select v_users[v_item_users[t.n]], v_accept_ats[t.n], v_ids[t.n], v_flows[t.n] from unnest(v_untracked) t(n);
  update private.user_queue q
     set available = q.available + a.available,
         -- Who becomes active starts at the clock of those who are: an idle user saves up nothing.
         virtual_time = case when q.available = 0 and q.running = 0
                             then greatest(q.virtual_time, s.virtual_time) else q.virtual_time end,
         hour_from = v_from[a.u][1], hour_used = v_used[a.u][1],
         day_from = v_from[a.u][2], day_used = v_used[a.u][2],
         month_from = v_from[a.u][3], month_used = v_used[a.u][3],
         full_until = v_starts[a.u], full_by = v_holders[a.u],
         full_for = array[v_limits[a.u][1], v_limits[a.u][2], v_limits[a.u][3]]
    from (select v_item_users[a.n] as u, count(*) filter (where v_states[a.n] = 'available') as available
            from unnest(v_accepted) a(n) group by 1) a
   cross join private.queue_state s
   where q.user_id = v_users[a.u];
  if v_known is not null then
    insert into private.idempotency_keys as k (user_id, idempotency_key, execution_id)
    select v_users[v_item_users[a.n]], idempotency_keys[a.n], v_ids[a.n]
      from unnest(v_accepted) a(n) where idempotency_keys[a.n] is not null
    on conflict (user_id, idempotency_key)
      do update set execution_id = excluded.execution_id, created_at = excluded.created_at;
  end if;
  if v_limited is not null then
    insert into private.flow_windows as w (flow_id, burst_from, burst_used, hour_from, hour_used, day_from, day_used)
    select v_limited[l.n], v_from[l.s][1], v_used[l.s][1], v_from[l.s][2], v_used[l.s][2], v_from[l.s][3], v_used[l.s][3]
      from (select l.n, cardinality(v_users) + l.n as s from generate_subscripts(v_limited, 1) l(n)) l
     where v_limited[l.n] = any (v_flows)
    on conflict (flow_id) do update
      set burst_from = excluded.burst_from, burst_used = excluded.burst_used, hour_from = excluded.hour_from,
          hour_used = excluded.hour_used, day_from = excluded.day_from, day_used = excluded.day_used;
  end if;
  if 'available' = any (v_states) then
    perform private.wake_workers();
  end if;
end
$$;
comment on function private.admit_executions(uuid[], jsonb[], text[], timestamptz[], integer[], text[], uuid) is
'Admits executions on behalf of the owners of their flows: limits, rows, wake-up, in one transaction. With an owner, flows of others are unknown.';

revoke execute on function private.check_enqueue_arguments(jsonb, text, timestamptz, integer, text) from public;
revoke execute on function private.admit_executions(uuid[], jsonb[], text[], timestamptz[], integer[], text[], uuid)
from public;

-- sql/functions/cancel.sql
-- Cancelling: at once while queued; a running one is told with the next heartbeat of its processor.

create or replace function public.cancel_flow_execution(execution_id uuid) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_user uuid := auth.uid();
  v_row public.flow_execution_queue;
  v_owner uuid;
  v_state text;
begin
  if v_user is null and coalesce(auth.role(), '') <> 'service_role' then
    raise sqlstate 'PT401' using message = 'cancel_flow_execution acts for the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  end if;
  select q.user_id into v_owner from public.flow_execution_queue q
   where q.id = cancel_flow_execution.execution_id and (v_user is null or q.user_id = v_user);
  if found then
    -- The user first, then the execution, as everywhere.
    perform 1 from private.user_queue u where u.user_id = v_owner for update;
    select * into v_row from public.flow_execution_queue q where q.id = cancel_flow_execution.execution_id for update;
  end if;

  if v_row.id is null then
    select l.outcome into v_state from public.execution_logs l
     where l.execution_id = cancel_flow_execution.execution_id and l.is_final
       and l.finished_at >= private.execution_id_time(cancel_flow_execution.execution_id) - interval '1 minute'
       and (v_user is null or l.user_id = v_user);
    if v_state is null then
      raise sqlstate 'PT404' using message = format('execution_id: no execution %s', cancel_flow_execution.execution_id),
        hint = 'Check the id; you can cancel your own executions only.';
    end if;
    return jsonb_build_object('execution_id', cancel_flow_execution.execution_id, 'state', v_state);
  end if;

  if v_row.state = 'running' then
    update public.flow_execution_queue q set cancel_requested_at = coalesce(q.cancel_requested_at, clock_timestamp())
     where q.id = v_row.id;
    return jsonb_build_object('execution_id', v_row.id, 'state', 'cancelling');
  end if;

  insert into public.execution_logs
    (execution_id, attempt, user_id, tier, flow_id, flow_name, flow_kind, flow_version, outcome, is_final, category,
     error, input, priority, origin_id, queued_at)
  select v_row.id, v_row.attempt, v_row.user_id, u.tier, v_row.flow_id, f.name, f.kind, v_row.flow_version,
         'cancelled', true, 'cancelled', v_row.last_error, v_row.input, v_row.priority, v_row.origin_id, v_row.queued_at
    from public.flows f, private.user_queue u
   where f.id = v_row.flow_id and u.user_id = v_row.user_id;
  delete from public.flow_execution_queue q where q.id = v_row.id;
  if v_row.state = 'scheduled' then
    -- One that was deferred and whose moment has not come gives its place back.
    delete from public.rate_limit_tracking t
     where t.user_id = v_row.user_id and t.execution_id = v_row.id and t.accepted_at > v_now;
  end if;
  if v_row.state = 'available' then
    update private.user_queue u set available = u.available - 1 where u.user_id = v_row.user_id;
  end if;
  return jsonb_build_object('execution_id', v_row.id, 'state', 'cancelled');
end
$$;
comment on function public.cancel_flow_execution(uuid) is
'Cancels an execution of yours: at once while queued; a running one ends as cancelled when its processor has heard of it.';

revoke execute on function public.cancel_flow_execution(uuid) from public, anon, authenticated, service_role;
grant execute on function public.cancel_flow_execution(uuid) to authenticated, service_role;

-- sql/functions/claim.sql
-- Claiming: which users, which of their executions, on which instances. The cost follows the batch, not the backlog.

create or replace function private.promote_due(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_due uuid[];
  v_promoted integer;
begin
  -- Chosen once: what becomes due meanwhile belongs to users that are not held here.
  select array_agg(due.id) into v_due from (
    select q.id from public.flow_execution_queue q
     where q.state = 'scheduled' and q.run_at <= clock_timestamp()
     order by q.run_at limit most) due;
  -- Users first, in order, as everywhere; then their due rows.
  perform 1 from private.user_queue u
    where u.user_id in (select q.user_id from public.flow_execution_queue q where q.id = any (v_due))
    order by u.user_id for update;
  with promoted as (
    update public.flow_execution_queue q set state = 'available'
     where q.id = any (v_due) and q.state = 'scheduled' returning q.user_id
  ),
  counted as (
    update private.user_queue u
       set available = u.available + n.n,
           virtual_time = case when u.available = 0 and u.running = 0
                               then greatest(u.virtual_time, s.virtual_time) else u.virtual_time end
      from (select p.user_id, count(*) as n from promoted p group by p.user_id) n
     cross join private.queue_state s
     where u.user_id = n.user_id
  )
  select count(*) into v_promoted from promoted;
  return v_promoted;
end
$$;
comment on function private.promote_due(integer) is 'Makes scheduled executions available once their moment has come.';

create or replace function private.free_slots(most integer)
returns table (n integer, instance_id uuid, owner text, nth_of_instance integer, spare boolean)
language sql
volatile
set search_path = ''
as $$
  with running as materialized (
    -- Counts are derived from the running rows, so that a crash can never leak a slot.
    select q.instance_id, count(*)::integer as n
      from public.flow_execution_queue q where q.state = 'running' group by q.instance_id
  ),
  open_instances as (
    select i.id, i.owner, i.weight, coalesce(r.n, 0) as in_flight, i.max_in_flight - coalesce(r.n, 0) as free
      from public.apps_script_instances i
      left join running r on r.instance_id = i.id
     where i.state = 'active' and i.kind = 'apps_script'
       and (i.breaker_state = 'closed'
            or (i.breaker_state = 'half_open' and coalesce(r.n, 0) = 0))
  ),
  owners as (
    select o.owner,
           o.max_in_flight - coalesce((select sum(r.n) from public.apps_script_instances i
                                         join running r on r.instance_id = i.id
                                        where i.owner = o.owner), 0)::integer as free
      from public.apps_script_owners o
     where o.set_aside_until is null or o.set_aside_until <= clock_timestamp()
  ),
  per_instance as (
    -- The k-th free slot of an instance stands at (calls in flight + k) / weight: the least loaded comes first.
    select i.id, i.owner, k.k, (i.in_flight + k.k)::double precision / i.weight as load, random() as tie
      from open_instances i
      join owners o on o.owner = i.owner
     cross join lateral generate_series(1, least(i.free, o.free, most)) k(k)
  ),
  per_owner as (
    select p.*, row_number() over (partition by p.owner order by p.load, p.tie) as nth_of_owner from per_instance p
  ),
  ranked as (
    select row_number() over (order by p.load, p.tie)::integer as n, p.id, p.owner, p.k
      from per_owner p
      join owners o on o.owner = p.owner and p.nth_of_owner <= o.free
  ),
  room as (
    select least(most, c.global_max_in_flight - (select coalesce(sum(r.n), 0)::integer from running r)) as n
      from public.load_balancer_config c
  )
  -- Spare is the first slot of an instance that has none among the others: for what has to run there, or not elsewhere.
  select r.n, r.id, r.owner, r.k, r.n > room.n
    from ranked r cross join room
   where room.n > 0 and (r.n <= room.n or r.k = 1)
   order by r.n
$$;
comment on function private.free_slots(integer) is
'Free slots within the global, the owners'' and the instances'' limits, least loaded first; a spare one may only replace another. Exact under the lock of the claim only.';

create or replace function private.choose_executions(processor_id text, most integer, lease_seconds integer)
returns table (execution_id uuid)
language sql
volatile
set search_path = ''
as $$
  with slots as materialized (
    select * from private.free_slots(most)
  ),
  open_instances as materialized (
    select array_agg(distinct s.instance_id) as ids, count(*) filter (where not s.spare) as slots from slots s
  ),
  users as materialized (
    -- The users who received least, below their running limit. A locked one is being served by another statement.
    select u.user_id, u.weight, u.virtual_time, least(u.max_running - u.running, u.available) as room
      from private.user_queue u
     where u.claimable
       and (u.blocked_until is null or u.blocked_until <= clock_timestamp())
       -- Who only waits for instances that are away would hold up the others. The limit keeps it a look at the head.
       and (select true from public.flow_execution_queue q
             where q.user_id = u.user_id and q.state = 'available'
               and (q.pinned_instance_id is null
                    or q.pinned_instance_id = any ((select o.ids from open_instances o)::uuid[]))
             limit 1)
     order by u.virtual_time
     limit (select o.slots from open_instances o)
       for update skip locked
  ),
  heads as (
    -- The head of each user's own order. The n-th of a user stands n / weight further on the virtual clock.
    -- No row locks here: whatever changes an available row holds the row of its user, which is held above.
    select h.*, u.virtual_time + h.nth::double precision / u.weight as virtual_time
      from users u
     cross join open_instances o
     cross join lateral (
       select l.*, row_number() over (order by l.priority desc, l.run_at, l.id) as nth
         from (select q.id, q.priority, q.run_at, q.pinned_instance_id, q.avoided_instance_id, q.avoided_owner
                 from public.flow_execution_queue q
                where q.user_id = u.user_id and q.state = 'available'
                  and (q.pinned_instance_id is null or q.pinned_instance_id = any (o.ids))
                order by q.priority desc, q.run_at, q.id
                limit u.room) l) h
  ),
  chosen as (
    select h.* from heads h order by h.virtual_time limit (select o.slots from open_instances o)
  ),
  pinned as (
    -- First those that may only run where they may have run before.
    select c.id, s.n, s.instance_id
      from (select c.id, c.pinned_instance_id,
                   row_number() over (partition by c.pinned_instance_id order by c.virtual_time) as nth
              from chosen c where c.pinned_instance_id is not null) c
      join slots s on s.instance_id = c.pinned_instance_id and s.nth_of_instance = c.nth
  ),
  avoiding as (
    select c.id, c.virtual_time, c.avoided_instance_id, c.avoided_owner,
           row_number() over (partition by c.avoided_instance_id, c.avoided_owner order by c.virtual_time) as nth
      from chosen c
     where c.pinned_instance_id is null and (c.avoided_instance_id is not null or c.avoided_owner is not null)
  ),
  alternatives as materialized (
    -- For each instance or owner that is avoided: the slots elsewhere.
    select a.avoided_instance_id, a.avoided_owner, s.n, s.instance_id,
           row_number() over (partition by a.avoided_instance_id, a.avoided_owner order by s.n) as nth
      from (select distinct v.avoided_instance_id, v.avoided_owner from avoiding v) a
      join slots s on s.instance_id is distinct from a.avoided_instance_id and s.owner is distinct from a.avoided_owner
     where s.n not in (select p.n from pinned p)
  ),
  elsewhere as (
    -- Two that avoid different things may come to one slot: one of them waits for the next claim.
    select distinct on (l.n) a.id, l.n, l.instance_id
      from avoiding a
      join alternatives l
        on l.nth = a.nth and l.avoided_instance_id is not distinct from a.avoided_instance_id
       and l.avoided_owner is not distinct from a.avoided_owner
     order by l.n, a.virtual_time
  ),
  free as (
    -- All others in turn, and what avoids the only place there is.
    select c.id, row_number() over (order by c.virtual_time) as turn
      from chosen c
     where c.pinned_instance_id is null
       and not exists (select 1 from alternatives l
                        where l.avoided_instance_id is not distinct from c.avoided_instance_id
                          and l.avoided_owner is not distinct from c.avoided_owner)
  ),
  open_slots as (
    select s.instance_id, row_number() over (order by s.n) as turn
      from slots s
     where not s.spare and s.n not in (select p.n from pinned p union all select e.n from elsewhere e)
  ),
  placed as (
    select p.id, p.instance_id from pinned p
    union all
    select e.id, e.instance_id from elsewhere e
    union all
    select f.id, s.instance_id from free f join open_slots s on s.turn = f.turn
  ),
  claimed as (
    update public.flow_execution_queue q
       set state = 'running', attempt = q.attempt + 1, instance_id = p.instance_id,
           processor_id = choose_executions.processor_id,
           started_at = clock_timestamp(), lease_token = gen_random_uuid(),
           lease_expires_at = clock_timestamp() + make_interval(secs => choose_executions.lease_seconds)
      from placed p
     where q.id = p.id
    returning q.id, q.user_id
  ),
  charged as (
    update private.user_queue u
       set running = u.running + n.n, available = u.available - n.n,
           virtual_time = u.virtual_time + n.n::double precision / u.weight
      from (select c.user_id, count(*)::integer as n from claimed c group by c.user_id) n
     where u.user_id = n.user_id
    returning u.virtual_time - n.n::double precision / u.weight as served_from
  ),
  clock as (
    -- The clock stands where the least served of this batch stood; newcomers start there.
    update private.queue_state s
       set virtual_time = greatest(s.virtual_time, (select min(c.served_from) from charged c))
     where exists (select 1 from charged)
  )
  select c.id from claimed c
$$;
comment on function private.choose_executions(text, integer, integer) is
'Picks, places and leases up to so many executions. Only under the lock of the claim.';

create or replace function public.claim_flow_executions(processor_id text, max integer, lease_seconds integer)
returns table (
  execution_id uuid, attempt integer, max_attempts integer, lease_token uuid, lease_expires_at timestamptz,
  user_id uuid, tier text, flow_id uuid, flow_name text, flow_kind text, steps jsonb, input jsonb,
  deadline_seconds integer, queued_at timestamptz, instance_id uuid, instance_name text, instance_url text,
  instance_key_id text, instance_owner text, resume boolean
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_chosen uuid[];
begin
  if claim_flow_executions.processor_id is null or length(claim_flow_executions.processor_id) not between 1 and 200 then
    raise sqlstate 'PT400' using message = 'processor_id must be a text of 1 to 200 characters that names the claimer';
  elsif claim_flow_executions.max is null or claim_flow_executions.max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', claim_flow_executions.max);
  elsif claim_flow_executions.lease_seconds is null or claim_flow_executions.lease_seconds not between 1 and 3600 then
    raise sqlstate 'PT400' using
      message = format('lease_seconds must be an integer from 1 to 3600, not %s', claim_flow_executions.lease_seconds);
  end if;

  -- An empty queue costs these two index probes.
  if exists (select 1 from public.flow_execution_queue q where q.state = 'scheduled' and q.run_at <= clock_timestamp()) then
    perform private.promote_due(1000);
  end if;
  if not exists (select 1 from private.user_queue u where u.claimable) then
    return;
  end if;
  if exists (select 1 from public.load_balancer_config c where c.paused_at is not null) then
    return;
  end if;

  -- One claim at a time: limits are exact because nobody else adds running rows meanwhile.
  perform pg_advisory_xact_lock(7305151, 1);
  select array_agg(c.execution_id) into v_chosen
    from private.choose_executions(claim_flow_executions.processor_id, claim_flow_executions.max, claim_flow_executions.lease_seconds) c;
  if v_chosen is null then
    return;
  end if;
  insert into public.queue_processors as p (id) values (claim_flow_executions.processor_id)
  on conflict (id) do nothing;

  return query
  select q.id, q.attempt, q.max_attempts, q.lease_token, q.lease_expires_at, q.user_id, u.tier, q.flow_id, f.name, f.kind,
         v.definition -> 'steps', q.input, f.deadline_seconds, q.queued_at,
         i.id, i.name, i.url, i.key_id, i.owner, q.pinned_instance_id is not null
    from public.flow_execution_queue q
    join private.user_queue u on u.user_id = q.user_id
    join public.flows f on f.id = q.flow_id
    join public.flow_versions v on v.flow_id = q.flow_id and v.version = q.flow_version
    join public.apps_script_instances i on i.id = q.instance_id
   where q.id = any (v_chosen);
end
$$;
comment on function public.claim_flow_executions(text, integer, integer) is
'Leases up to max executions to a processor, each with an instance that has a free slot. Service role only.';

revoke execute on function private.promote_due(integer) from public;
revoke execute on function private.free_slots(integer) from public;
revoke execute on function private.choose_executions(text, integer, integer) from public;
revoke execute on function public.claim_flow_executions(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.claim_flow_executions(text, integer, integer) to service_role;

-- sql/functions/enqueue.sql
-- The two doors of admission: a user for one flow of their own, a service for many flows of anyone.

create or replace function public.enqueue_flow_execution(
  flow_id uuid,
  input jsonb default '{}'::jsonb,
  idempotency_key text default null,
  run_at timestamptz default null,
  priority integer default 0,
  on_limit text default 'refuse'
) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_user uuid := auth.uid();
  v_problem text := private.check_enqueue_arguments(input, idempotency_key, run_at, priority, on_limit);
  v_result record;
begin
  if v_user is null then
    raise sqlstate 'PT401' using message = 'enqueue_flow_execution acts for the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token; a service uses enqueue_flow_executions.';
  end if;
  if v_problem is not null then
    raise sqlstate 'PT400' using message = v_problem, hint = 'Nothing was queued. Correct the argument and call again.';
  end if;
  select * into v_result
    from private.admit_executions(array[flow_id], array[input], array[idempotency_key], array[run_at],
                                  array[priority], array[on_limit], v_user);
  if v_result.refused is null then
    if v_result.remaining is not null then
      perform set_config('response.headers', private.limit_headers(
        v_result.limit_name, v_result.limit_count, v_result.limit_seconds, v_result.remaining,
        v_result.retry_after_seconds)::text, true);
    end if;
    return jsonb_build_object('execution_id', v_result.execution_id, 'state', v_result.state,
                              'run_at', v_result.run_at, 'duplicate', v_result.duplicate);
  elsif v_result.refused = 'unknown_flow' then
    raise sqlstate 'PT404' using message = format('flow_id: you have no flow %s', flow_id),
      hint = 'List your flows to find its id.';
  elsif v_result.refused = 'suspended' then
    raise sqlstate 'PT403' using message = 'your account is suspended: nothing is queued',
      hint = 'Your data stays readable. Ask support.';
  elsif v_result.refused = 'flow_disabled' then
    raise sqlstate 'PT409' using message = 'flow_id: the flow is disabled', hint = 'Enable the flow first.';
  end if;
  perform private.raise_limit_reached(v_result.limit_name, v_result.limit_count, v_result.limit_seconds,
                                      v_result.retry_after_seconds);
  return null;
end
$$;
comment on function public.enqueue_flow_execution(uuid, jsonb, text, timestamptz, integer, text) is
'Queues a run of one of your flows. 429 with Retry-After when a limit is reached; on_limit = defer schedules it instead.';

create or replace function private.limit_headers(
  limit_name text, limit_count integer, limit_seconds integer, remaining integer, seconds_left integer
) returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_policy constant text := replace(limit_name, '_limit', '');
begin
  -- draft-ietf-httpapi-ratelimit-headers-11, for the window that leaves the least room: q in any w seconds, r of it are
  -- left; t, where given, is when one more fits.
  return jsonb_build_array(
    jsonb_build_object('RateLimit-Policy', format('"%s";q=%s;w=%s', v_policy, limit_count, limit_seconds)),
    jsonb_build_object('RateLimit', format('"%s";r=%s', v_policy, remaining) || coalesce(';t=' || seconds_left, '')));
end
$$;
comment on function private.limit_headers(text, integer, integer, integer, integer) is
'The RateLimit header fields of an answer, in the form of PostgREST''s response.headers.';

create or replace function private.raise_limit_reached(
  limit_name text, limit_count integer, limit_seconds integer, retry_after_seconds integer
) returns void
language plpgsql
set search_path = ''
as $$
declare
  v_window constant text := replace(limit_name, '_limit', '');
  v_headers constant jsonb := private.limit_headers(limit_name, limit_count, limit_seconds, 0, retry_after_seconds);
begin
  -- PostgREST sends this as status 429 with these headers.
  raise sqlstate 'PGRST' using
    message = jsonb_build_object(
      'code', 'PT429',
      'message', format('%s limit of %s executions per %s is reached',
                        case when v_window like 'flow%' then 'the flow''s' else 'your' end, limit_count,
                        case limit_seconds when 3600 then 'hour' when 86400 then 'day' when 2592000 then '30 days'
                                           else limit_seconds || ' s' end),
      'details', jsonb_build_object('window', v_window, 'window_seconds', limit_seconds, 'limit', limit_count,
                                    'remaining', 0, 'retry_after_seconds', retry_after_seconds)::text,
      'hint', format('Try again in %s s, or pass on_limit = defer to have it scheduled for then.', retry_after_seconds)
    )::text,
    detail = jsonb_build_object(
      'status', 429,
      'headers', (v_headers -> 0) || (v_headers -> 1) || jsonb_build_object('Retry-After', retry_after_seconds::text)
    )::text;
end
$$;
comment on function private.raise_limit_reached(text, integer, integer, integer) is 'Answers 429 Too Many Requests.';

create or replace function public.enqueue_flow_executions(items jsonb)
returns table (
  item integer, execution_id uuid, state text, run_at timestamptz, duplicate boolean,
  refused text, limit_count integer, retry_after_seconds integer
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_bad record;
begin
  -- The API shows 1,000 rows of an answer (max-rows of a hosted project), and every item wants its answer.
  if items is null or jsonb_typeof(items) <> 'array' or jsonb_array_length(items) not between 1 and 1000 then
    raise sqlstate 'PT400' using message = 'items must be a list of 1 to 1000 executions',
      hint = 'Each is {"flow_id", "input", "idempotency_key", "run_at", "priority", "on_limit"}; only flow_id is required.';
  end if;
  -- All or nothing: a malformed item is refused before anything is queued.
  select i.n, i.problem into v_bad
    from (select e.n - 1 as n,
                 case when jsonb_typeof(e.value) <> 'object' then 'must be an object'
                      when e.value ->> 'flow_id' is null
                           or e.value ->> 'flow_id' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                        then 'flow_id must be a uuid'
                      when e.value ? 'priority' and not private.is_integer_between(e.value -> 'priority', -100, 100)
                        then 'priority must be an integer from -100 to 100'
                      else private.check_enqueue_arguments(
                        coalesce(e.value -> 'input', '{}'), e.value ->> 'idempotency_key',
                        (e.value ->> 'run_at')::timestamptz, coalesce((e.value ->> 'priority')::integer, 0),
                        coalesce(e.value ->> 'on_limit', 'refuse'))
                 end as problem
            from jsonb_array_elements(items) with ordinality e(value, n)) i
   where i.problem is not null
   order by i.n limit 1;
  if found then
    raise sqlstate 'PT400' using message = format('items[%s]: %s', v_bad.n, v_bad.problem),
      hint = 'Nothing was queued. Correct the item and call again.';
  end if;

  return query
  select a.item, a.execution_id, a.state, a.run_at, a.duplicate, a.refused,
         case when a.refused is not null then a.limit_count end,
         case when a.refused is not null then a.retry_after_seconds end
    from (select array_agg((e.value ->> 'flow_id')::uuid order by e.n) as flow_ids,
                 array_agg(coalesce(e.value -> 'input', '{}') order by e.n) as inputs,
                 array_agg(e.value ->> 'idempotency_key' order by e.n) as idempotency_keys,
                 array_agg((e.value ->> 'run_at')::timestamptz order by e.n) as run_ats,
                 array_agg(coalesce((e.value ->> 'priority')::integer, 0) order by e.n) as priorities,
                 array_agg(coalesce(e.value ->> 'on_limit', 'refuse') order by e.n) as on_limits
            from jsonb_array_elements(items) with ordinality e(value, n)) i
   cross join lateral private.admit_executions(
     i.flow_ids, i.inputs, i.idempotency_keys, i.run_ats, i.priorities, i.on_limits) a;
exception
  when invalid_datetime_format or datetime_field_overflow then
    raise sqlstate 'PT400' using message = 'items: a run_at is no timestamp (ISO 8601 with an offset)',
      hint = 'Nothing was queued. Correct the item and call again.';
end
$$;
comment on function public.enqueue_flow_executions(jsonb) is
'Queues up to 1,000 runs on behalf of the owners of their flows. Answers per item: an execution id, or why it was refused.';

revoke execute on function private.limit_headers(text, integer, integer, integer, integer) from public;
revoke execute on function private.raise_limit_reached(text, integer, integer, integer) from public;
revoke execute on function public.enqueue_flow_execution(uuid, jsonb, text, timestamptz, integer, text)
from public, anon, authenticated, service_role;
grant execute on function public.enqueue_flow_execution(uuid, jsonb, text, timestamptz, integer, text)
to authenticated, service_role;
revoke execute on function public.enqueue_flow_executions(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.enqueue_flow_executions(jsonb) to service_role;

-- sql/functions/flow_validation.sql
-- What a flow may say. The one truth for clients, the command line and the far side's own check.

create or replace function private.flow_step_arguments()
returns table (step_type text, argument text, kind text, required boolean, lowest integer, highest integer)
language sql
immutable
set search_path = ''
as $$
  values
    ('gmail.search', 'query', 'string', true, null::integer, null::integer),
    ('gmail.search', 'max', 'integer', false, 1, 100),
    ('gmail.label', 'threads', 'array', true, null, null),
    ('gmail.label', 'label', 'string', true, null, null),
    ('gmail.label', 'remove', 'boolean', false, null, null),
    ('gmail.archive', 'threads', 'array', true, null, null),
    ('gmail.draft', 'to', 'string', true, null, null),
    ('gmail.draft', 'subject', 'string', true, null, null),
    ('gmail.draft', 'body', 'string', true, null, null),
    ('gmail.draft', 'cc', 'string', false, null, null),
    ('gmail.draft', 'bcc', 'string', false, null, null),
    ('gmail.draft', 'html_body', 'string', false, null, null),
    ('gmail.send', 'to', 'string', true, null, null),
    ('gmail.send', 'subject', 'string', true, null, null),
    ('gmail.send', 'body', 'string', true, null, null),
    ('gmail.send', 'cc', 'string', false, null, null),
    ('gmail.send', 'bcc', 'string', false, null, null),
    ('gmail.send', 'html_body', 'string', false, null, null),
    ('gmail.send', 'reply_to', 'string', false, null, null),
    ('drive.save_attachments', 'threads', 'array', true, null, null),
    ('drive.save_attachments', 'folder', 'string', true, null, null),
    ('drive.save_attachments', 'max', 'integer', false, 1, 100),
    ('drive.create_file', 'name', 'string', true, null, null),
    ('drive.create_file', 'content', 'string', true, null, null),
    ('drive.create_file', 'folder', 'string', false, null, null),
    ('drive.create_file', 'mime_type', 'string', false, null, null),
    ('sheets.append_rows', 'spreadsheet', 'string', true, null, null),
    ('sheets.append_rows', 'rows', 'array', true, null, null),
    ('sheets.append_rows', 'sheet', 'string', false, null, null),
    ('calendar.create_event', 'title', 'string', true, null, null),
    ('calendar.create_event', 'start', 'string', true, null, null),
    ('calendar.create_event', 'end', 'string', true, null, null),
    ('calendar.create_event', 'calendar', 'string', false, null, null),
    ('calendar.create_event', 'description', 'string', false, null, null),
    ('calendar.create_event', 'location', 'string', false, null, null),
    ('calendar.create_event', 'guests', 'array', false, null, null),
    ('transform', 'template', 'any', true, null, null),
    ('transform', 'each', 'array', false, null, null)
$$;
comment on function private.flow_step_arguments() is 'The step types and their arguments. Code.gs implements exactly these.';

create or replace function private.validate_flow_step(step jsonb, path text, earlier text[])
returns table (path_out text, code text, message text)
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_type text := step ->> 'type';
  v_args jsonb := coalesce(step -> 'args', '{}'::jsonb);
  v_known text[] := earlier || array['input'];
begin
  if jsonb_typeof(v_args) is distinct from 'object' then
    return query select path || '.args', 'wrong_type',
      format('args must be an object of arguments, not %s', jsonb_typeof(v_args));
    return;
  end if;
  if v_type is null or not exists (select 1 from private.flow_step_arguments() a where a.step_type = v_type) then
    return query select path || '.type', 'unknown_step',
      format('%s is no step type; known are %s', coalesce(quote_literal(private.plain(v_type, 80)), 'a missing type'),
             (select string_agg(distinct a.step_type, ', ' order by a.step_type) from private.flow_step_arguments() a));
    return;
  end if;

  -- Arguments that are missing, and arguments of the wrong shape. A lone template may become any type.
  return query
    select path || '.args.' || a.argument,
           case when given.value is null then 'missing_argument' else 'wrong_type' end,
           case when given.value is null then format('%s needs the argument %s (%s)', v_type, a.argument, a.kind)
                else format('%s must be %s, not %s', a.argument,
                            case when a.kind = 'integer' and a.lowest is not null
                                 then format('an integer from %s to %s', a.lowest, a.highest)
                                 when a.kind ~ '^[aeiou]' then 'an ' || a.kind
                                 else 'a ' || a.kind end,
                            case when jsonb_typeof(given.value) = 'number' then left(given.value::text, 40)
                                 else jsonb_typeof(given.value) end)
           end
      from private.flow_step_arguments() a
      cross join lateral (select v_args -> a.argument as value) given
     where a.step_type = v_type
       and case
             when given.value is null then a.required
             when a.kind = 'any' then false
             when given.value #>> '{}' ~ '^\s*\{\{[^{}]+\}\}\s*$' and jsonb_typeof(given.value) = 'string' then false
             when a.kind = 'integer' then not private.is_integer_between(given.value, a.lowest, a.highest)
             else jsonb_typeof(given.value) <> a.kind
           end;

  return query
    select path || '.args.' || private.plain(k.key, 80), 'unknown_argument',
           format('%s takes no argument of this name; it takes %s', v_type,
                  (select string_agg(a.argument, ', ') from private.flow_step_arguments() a where a.step_type = v_type))
      from jsonb_object_keys(v_args) k(key)
     where not exists (select 1 from private.flow_step_arguments() a where a.step_type = v_type and a.argument = k.key);

  if v_type = 'transform' and v_args ? 'each' then
    v_known := v_known || array['item'];
  end if;
  -- References may only look back.
  return query
    select distinct path || '.args', 'unknown_reference',
           format('{{%s}} names no earlier step; known here are %s', private.plain(r.expression, 80), array_to_string(v_known, ', '))
      from jsonb_path_query(v_args, 'strict $.** ? (@.type() == "string")') s(value)
      cross join lateral regexp_matches(s.value #>> '{}', '\{\{\s*([^{}]*?)\s*\}\}', 'g') m(groups)
      cross join lateral (select m.groups[1] as expression) r
     where split_part(r.expression, '.', 1) <> all (v_known);
end
$$;
comment on function private.validate_flow_step(jsonb, text, text[]) is 'What is wrong with one step; nothing when it is right.';

create or replace function private.is_integer_between(value jsonb, lowest bigint, highest bigint) returns boolean
language sql
immutable
set search_path = ''
as $$
  select case when jsonb_typeof(value) = 'number'
              then (value::numeric) = trunc(value::numeric)
                   and (lowest is null or value::numeric >= lowest) and (highest is null or value::numeric <= highest)
              else false end
$$;
comment on function private.is_integer_between(jsonb, bigint, bigint) is 'Whether a JSON value is a whole number in a range.';

create or replace function public.validate_flow_definition(definition jsonb)
returns table (path text, code text, message text)
language plpgsql
immutable
security definer
set search_path = ''
as $$
declare
  v_steps jsonb := definition -> 'steps';
  v_step jsonb;
  v_name text;
  v_index integer := 0;
  v_earlier text[] := '{}';
begin
  if definition is null or jsonb_typeof(definition) <> 'object' then
    return query select 'definition', 'wrong_type', 'a flow is an object {"steps": [...]}'::text;
    return;
  end if;
  if octet_length(definition::text) > 262144 then
    return query select 'definition', 'too_large',
      format('the flow has %s bytes; at most 262144 (256 KB) are allowed', octet_length(definition::text));
    return;
  end if;
  if v_steps is null or jsonb_typeof(v_steps) <> 'array' or jsonb_array_length(v_steps) not between 1 and 20 then
    return query select 'steps', 'wrong_type', 'steps must be a list of 1 to 20 steps'::text;
    return;
  end if;
  return query
    select private.plain(k.key, 80), 'unknown_field', 'a flow has only the field steps'::text
      from jsonb_object_keys(definition) k(key) where k.key <> 'steps';

  for v_step in select s.value from jsonb_array_elements(v_steps) s(value) loop
    if jsonb_typeof(v_step) <> 'object' then
      return query select format('steps[%s]', v_index), 'wrong_type',
        format('a step is an object {"name", "type", "args"}, not %s', jsonb_typeof(v_step));
    else
      v_name := v_step ->> 'name';
      if v_name is null or jsonb_typeof(v_step -> 'name') <> 'string' or v_name !~ '^[a-z][a-z0-9_]{0,39}$'
         or v_name in ('input', 'item') then
        return query select format('steps[%s].name', v_index), 'invalid_name',
          'name must be 1 to 40 of a-z, 0-9 and _, start with a letter, and be neither input nor item'::text;
      elsif v_name = any (v_earlier) then
        return query select format('steps[%s].name', v_index), 'duplicate_name',
          format('another step is called %s already', v_name);
      end if;
      return query
        select format('steps[%s].%s', v_index, private.plain(k.key, 80)), 'unknown_field',
               'a step has only the fields name, type and args'::text
          from jsonb_object_keys(v_step) k(key) where k.key not in ('name', 'type', 'args');
      return query
        select * from private.validate_flow_step(v_step, format('steps[%s]', v_index), v_earlier);
      if v_name is not null then
        v_earlier := v_earlier || v_name;
      end if;
    end if;
    v_index := v_index + 1;
  end loop;
end
$$;
comment on function public.validate_flow_definition(jsonb) is
'Everything that is wrong with a flow: path, code, message. No rows: it is valid.';

create or replace function private.check_flow() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_problem record;
  v_count integer := 0;
  v_messages text[] := '{}';
begin
  if tg_op = 'UPDATE' then
    new.updated_at := now();
    if new.user_id <> old.user_id then
      raise sqlstate 'PT400' using message = 'user_id: a flow cannot change its owner',
        hint = 'Create the flow again for the other user.';
    end if;
    if new.definition = old.definition then
      new.version := old.version;
      return new;
    end if;
    new.version := old.version + 1;
  else
    new.version := 1;
  end if;
  for v_problem in select * from public.validate_flow_definition(new.definition) loop
    v_count := v_count + 1;
    if v_count <= 10 then
      v_messages := v_messages || format('%s: %s', v_problem.path, v_problem.message);
    end if;
  end loop;
  if v_count > 0 then
    raise sqlstate 'PT400' using
      message = 'definition is not a valid flow: ' || v_messages[1],
      detail = array_to_string(v_messages, E'\n'),
      hint = 'Correct the flow; `flowstate flows validate` lists all problems.';
  end if;
  return new;
end
$$;
comment on function private.check_flow() is 'Trigger: an invalid flow is not stored; the version goes up with the definition.';

create or replace trigger check_flow before insert or update on public.flows
for each row execute function private.check_flow();

create or replace function private.keep_flow_version() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into public.flow_versions (flow_id, version, user_id, definition)
  values (new.id, new.version, new.user_id, new.definition)
  on conflict do nothing;
  return new;
end
$$;
comment on function private.keep_flow_version() is 'Trigger: each definition is kept, so that an execution runs what it was accepted with.';

create or replace trigger keep_flow_version after insert or update of definition on public.flows
for each row execute function private.keep_flow_version();

revoke execute on function private.flow_step_arguments() from public;
revoke execute on function private.validate_flow_step(jsonb, text, text[]) from public;
revoke execute on function private.is_integer_between(jsonb, bigint, bigint) from public;
revoke execute on function private.check_flow() from public;
revoke execute on function private.keep_flow_version() from public;
revoke execute on function public.validate_flow_definition(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.validate_flow_definition(jsonb) to authenticated, service_role;

-- sql/functions/google_tokens.sql
-- A user's connection to Google: stored and read by the service, seen and ended by its user.

create or replace function private.is_sealed(sealed text) returns boolean
language sql
immutable
set search_path = ''
as $$
  -- The form of a sealed token, as the table demands it; a token of Google's has another one.
  select sealed is not null and sealed ~ '^A[A-Za-z0-9+/]+={0,2}$' and length(sealed) between 40 and 4096
$$;
comment on function private.is_sealed(text) is 'Whether a text has the form of a sealed token, and not that of a readable one.';

create or replace function private.check_google_user_ids(user_ids uuid[]) returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  if user_ids is null or cardinality(user_ids) > 1000 then
    raise sqlstate 'PT400' using message = 'user_ids must be a list of at most 1000 ids of users';
  end if;
end
$$;
comment on function private.check_google_user_ids(uuid[]) is 'Refuses a list that is missing or too long for one answer of the API.';

create or replace function public.store_google_tokens(
  user_id uuid, key_id text, sealed_refresh_token text, sealed_access_token text default null,
  expires_in_seconds integer default null, scopes text[] default '{}'
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_deleting boolean;
  v_replaced boolean;
begin
  -- Said here, so that no constraint's message ever repeats a row.
  if key_id is null or key_id !~ '^[A-Za-z0-9_-]{1,40}$' then
    raise sqlstate 'PT400' using message = 'key_id must be 1 to 40 letters, digits, _ or -';
  elsif not private.is_sealed(sealed_refresh_token) then
    raise sqlstate 'PT400' using message = 'sealed_refresh_token must be a sealed token, never a readable one',
      hint = 'It is base64 of version, nonce and ciphertext. Store it with: flowstate tokens connect';
  elsif (sealed_access_token is null) <> (expires_in_seconds is null) then
    raise sqlstate 'PT400' using message = 'expires_in_seconds must come with sealed_access_token, and only with it';
  elsif sealed_access_token is not null and not private.is_sealed(sealed_access_token) then
    raise sqlstate 'PT400' using message = 'sealed_access_token must be a sealed token, never a readable one';
  elsif expires_in_seconds not between 1 and 31622400 then
    raise sqlstate 'PT400' using message = 'expires_in_seconds must be an integer from 1 to 31622400';
  elsif scopes is null or cardinality(scopes) > 100 or exists (
          select from unnest(scopes) s(scope) where s.scope is null or s.scope !~ '^[\x21-\x7e]{1,250}$') then
    raise sqlstate 'PT400' using message = 'scopes must be at most 100 scopes of 1 to 250 characters without blanks';
  end if;
  select p.deletion_requested_at is not null into v_deleting
    from public.user_profiles p where p.user_id = store_google_tokens.user_id;
  if not found then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', user_id);
  elsif v_deleting then
    raise sqlstate 'PT409' using message = format('user_id: the user %s is being deleted', user_id);
  end if;

  -- A new consent: whatever was known of the old one is over, also a refresh that is under way.
  insert into private.google_tokens as t
    (user_id, key_id, sealed_refresh_token, sealed_access_token, access_expires_at, scopes, next_refresh_at)
  select user_id, key_id, sealed_refresh_token, sealed_access_token, e.at, scopes, coalesce(e.at, clock_timestamp())
    from (select clock_timestamp() + make_interval(secs => expires_in_seconds) as at) e
  on conflict on constraint google_tokens_pkey do update
    set key_id = excluded.key_id, sealed_refresh_token = excluded.sealed_refresh_token,
        sealed_access_token = excluded.sealed_access_token, access_expires_at = excluded.access_expires_at,
        scopes = excluded.scopes, status = 'active', reason = null, version = t.version + 1, failures = 0,
        retry_at = null, refresher_id = null, refresh_lease_token = null, refresh_lease_until = null,
        next_refresh_at = excluded.next_refresh_at, last_used_at = clock_timestamp(), created_at = clock_timestamp()
  returning t.version > 1 into v_replaced;
  perform private.record_activity('google.connected', user_id, 'google_token', null,
                                  jsonb_build_object('scopes', scopes, 'replaced', v_replaced));
  return jsonb_build_object('user_id', user_id, 'status', 'active', 'replaced', v_replaced);
end
$$;
comment on function public.store_google_tokens(uuid, text, text, text, integer, text[]) is
'Keeps the sealed tokens of a user who has consented; the ones before are replaced. Service role only.';

create or replace function public.get_google_tokens(user_ids uuid[])
returns table (
  user_id uuid, status text, reason text, key_id text, sealed_access_token text, expires_in_seconds integer,
  scopes text[], is_refreshing boolean, retry_in_seconds integer
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform private.check_google_user_ids(user_ids);
  -- Noted once a minute. Who is used again is refreshed ahead again; a row that is being written is in use anyhow.
  update private.google_tokens t
     set last_used_at = clock_timestamp(),
         next_refresh_at = case when t.sealed_refresh_token is not null
                                then greatest(least(t.next_refresh_at, t.access_expires_at), t.retry_at) end
    from (select u.user_id from private.google_tokens u
           where u.user_id = any (user_ids) and u.last_used_at < clock_timestamp() - interval '1 minute'
           order by u.user_id for no key update skip locked) used
   where t.user_id = used.user_id;
  return query
    select t.user_id, t.status, t.reason, t.key_id, t.sealed_access_token,
           floor(extract(epoch from t.access_expires_at - clock_timestamp()))::integer, t.scopes,
           coalesce(t.refresh_lease_until > clock_timestamp(), false),
           ceil(extract(epoch from t.retry_at - clock_timestamp()))::integer
      from private.google_tokens t
     where t.user_id = any (user_ids)
     order by t.user_id;
end
$$;
comment on function public.get_google_tokens(uuid[]) is
'Sealed access tokens and their state, for users who are connected; notes that they are in use. Service role only.';

create or replace function private.forget_google(user_id uuid)
returns table (key_id text, sealed_refresh_token text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
    delete from private.google_tokens t where t.user_id = forget_google.user_id
    returning t.key_id, t.sealed_refresh_token;
  if found then
    perform private.record_activity('google.disconnected', forget_google.user_id, 'google_token', null, '{}');
  end if;
end
$$;
comment on function private.forget_google(uuid) is 'Removes a connection and answers what was sealed; a refresh under way finds nothing.';

create or replace function public.disconnect_google(user_id uuid) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_key_id text;
  v_sealed text;
begin
  if user_id is null then
    raise sqlstate 'PT400' using message = 'user_id must be the id of a user';
  end if;
  select f.key_id, f.sealed_refresh_token into v_key_id, v_sealed from private.forget_google(user_id) f;
  return jsonb_build_object('disconnected', found, 'key_id', v_key_id, 'sealed_refresh_token', v_sealed);
end
$$;
comment on function public.disconnect_google(uuid) is
'Removes a user''s connection, and answers the sealed token once more, so that the caller can end the grant at Google. Service role only.';

create or replace function public.get_my_google_connection() returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_connection jsonb;
begin
  if auth.uid() is null then
    raise sqlstate 'PT401' using
      message = 'get_my_google_connection tells of the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  end if;
  select jsonb_build_object(
           'status', t.status, 'scopes', t.scopes, 'connected_at', t.created_at, 'last_used_at', t.last_used_at,
           'advice', case t.status
             when 'revoked' then 'Google no longer accepts this connection. Connect your Google account again.'
             when 'failing' then 'Google could not be asked for a new token. It is tried again by itself.' end)
    into v_connection from private.google_tokens t where t.user_id = auth.uid();
  return coalesce(v_connection, jsonb_build_object(
    'status', 'none', 'scopes', jsonb_build_array(), 'connected_at', null, 'last_used_at', null,
    'advice', 'Connect your Google account.'));
end
$$;
comment on function public.get_my_google_connection() is 'Your connection to Google: none, active, failing or revoked, and what to do.';

create or replace function public.disconnect_my_google() returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  if auth.uid() is null then
    raise sqlstate 'PT401' using message = 'disconnect_my_google acts for the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  end if;
  perform 1 from private.forget_google(auth.uid());
  return jsonb_build_object(
    'disconnected', found,
    'advice', 'The tokens are deleted. To withdraw your consent at Google too: https://myaccount.google.com/connections');
end
$$;
comment on function public.disconnect_my_google() is 'Deletes your Google tokens here; flows that need them fail from now on.';

revoke execute on function private.is_sealed(text) from public;
revoke execute on function private.check_google_user_ids(uuid[]) from public;
revoke execute on function private.forget_google(uuid) from public;
revoke execute on function public.store_google_tokens(uuid, text, text, text, integer, text[])
from public, anon, authenticated, service_role;
grant execute on function public.store_google_tokens(uuid, text, text, text, integer, text[]) to service_role;
revoke execute on function public.get_google_tokens(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.get_google_tokens(uuid[]) to service_role;
revoke execute on function public.disconnect_google(uuid) from public, anon, authenticated, service_role;
grant execute on function public.disconnect_google(uuid) to service_role;
revoke execute on function public.get_my_google_connection() from public, anon, authenticated, service_role;
grant execute on function public.get_my_google_connection() to authenticated;
revoke execute on function public.disconnect_my_google() from public, anon, authenticated, service_role;
grant execute on function public.disconnect_my_google() to authenticated;

-- sql/functions/google_tokens_keys.sql
-- The keys that tokens are sealed with: which are in use, how one takes the place of another, and Vault.

create or replace function public.claim_google_tokens_to_reseal(
  current_key_id text, max integer, after uuid default null
)
returns table (user_id uuid, version bigint, key_id text, sealed_refresh_token text, sealed_access_token text)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  if current_key_id is null or current_key_id !~ '^[A-Za-z0-9_-]{1,40}$' then
    raise sqlstate 'PT400' using message = 'current_key_id must be 1 to 40 letters, digits, _ or -';
  elsif max is null or max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', max);
  end if;
  -- Nothing is locked: what changes meanwhile has another version then.
  return query
    select t.user_id, t.version, t.key_id, t.sealed_refresh_token, t.sealed_access_token
      from private.google_tokens t
     where t.key_id <> current_key_id and (after is null or t.user_id > after)
     order by t.user_id limit max;
end
$$;
comment on function public.claim_google_tokens_to_reseal(text, integer, uuid) is
'Tokens that are sealed with another key than this, in order of user. Service role only.';

create or replace function public.finish_google_token_reseals(items jsonb)
returns table (user_id uuid, answer text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_bad record;
begin
  if items is null or jsonb_typeof(items) <> 'array' or jsonb_array_length(items) > 1000 then
    raise sqlstate 'PT400' using message = 'items must be a list of at most 1000 items',
      hint = 'Each is {"user_id", "version", "key_id", "sealed_refresh_token", "sealed_access_token"}.';
  end if;
  select e.n - 1 as n, p.problem into v_bad
    from jsonb_array_elements(items) with ordinality e(value, n)
   cross join lateral (
     select case
       when jsonb_typeof(e.value) <> 'object' then 'must be an object'
       when coalesce(e.value ->> 'user_id', '') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         then 'user_id must be a uuid'
       when jsonb_typeof(coalesce(e.value -> 'version', 'null')) <> 'number' or e.value ->> 'version' !~ '^[0-9]{1,18}$'
         then 'version must be an integer'
       when coalesce(e.value ->> 'key_id', '') !~ '^[A-Za-z0-9_-]{1,40}$'
         then 'key_id must be 1 to 40 letters, digits, _ or -'
       when not private.is_sealed(e.value ->> 'sealed_refresh_token')
            or (e.value ->> 'sealed_access_token' is not null
                and not private.is_sealed(e.value ->> 'sealed_access_token'))
         then 'sealed_refresh_token and sealed_access_token must be sealed tokens, never readable ones'
     end as problem) p
   where p.problem is not null
   order by e.n limit 1;
  if found then
    raise sqlstate 'PT400' using message = format('items[%s]: %s', v_bad.n, v_bad.problem),
      hint = 'Nothing was changed. Correct the item and send the batch again.';
  end if;
  perform 1 from private.google_tokens t
    where t.user_id in (select (e.value ->> 'user_id')::uuid from jsonb_array_elements(items) e(value))
    order by t.user_id for no key update;

  return query
  with wanted as materialized (
    select distinct on (r.user_id) r.*, e.n
      from jsonb_array_elements(items) with ordinality e(value, n)
     cross join lateral jsonb_to_record(e.value) r(
       user_id uuid, version bigint, key_id text, sealed_refresh_token text, sealed_access_token text)
     order by r.user_id, e.n
  ),
  -- The fence: what was refreshed, replaced or revoked since it was read is left as it is.
  resealed as (
    update private.google_tokens t
       set key_id = w.key_id, sealed_refresh_token = w.sealed_refresh_token,
           sealed_access_token = w.sealed_access_token, version = t.version + 1
      from wanted w
     where t.user_id = w.user_id and t.version = w.version and t.sealed_refresh_token is not null
       and (t.sealed_access_token is null) = (w.sealed_access_token is null)
    returning t.user_id
  )
  select w.user_id, case when r.user_id is not null then 'resealed'
                         when t.user_id is not null then 'changed' else 'gone' end
    from wanted w
    left join resealed r on r.user_id = w.user_id
    left join private.google_tokens t on t.user_id = w.user_id
   order by w.n;
end
$$;
comment on function public.finish_google_token_reseals(jsonb) is
'Puts tokens under another key, each only if its version is still the one that was read. Service role only.';

create or replace function private.has_vault() returns boolean
language sql
stable
set search_path = ''
as $$
  select to_regclass('vault.decrypted_secrets') is not null
$$;
comment on function private.has_vault() is 'Whether this database has Supabase Vault.';

create or replace function public.get_google_token_keys() returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_keys jsonb;
begin
  if private.has_vault() then
    -- Dynamic, since a database without Vault has to be able to hold this function.
    execute $vault$
      select jsonb_object_agg(substr(s.name, length('flowstate_token_key_') + 1), s.decrypted_secret)
        from vault.decrypted_secrets s
       where s.name like 'flowstate\_token\_key\_%'
    $vault$ into v_keys;
  end if;
  return coalesce(v_keys, '{}');
end
$$;
comment on function public.get_google_token_keys() is
'The keys that Vault holds as flowstate_token_key_<id>, by id; none where there is no Vault. Service role only.';

create or replace function public.get_google_token_status() returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
  with counted as materialized (
    select t.key_id, t.status, t.reason, count(*) as n,
           count(*) filter (where t.refresh_lease_until > clock_timestamp()) as refreshing
      from private.google_tokens t group by t.key_id, t.status, t.reason
  )
  select jsonb_build_object(
    'total', (select coalesce(sum(c.n), 0) from counted c),
    'statuses', (select jsonb_object_agg(s.status, coalesce(c.n, 0))
                   from unnest(array['active', 'failing', 'revoked']) s(status)
                   left join (select c.status, sum(c.n) as n from counted c group by c.status) c on c.status = s.status),
    'reasons', (select coalesce(jsonb_object_agg(c.reason, c.n), '{}')
                  from (select c.reason, sum(c.n) as n from counted c where c.reason is not null group by c.reason) c),
    'keys', (select coalesce(jsonb_agg(jsonb_build_object('key_id', c.key_id, 'tokens', c.n) order by c.key_id), '[]')
               from (select c.key_id, sum(c.n) as n from counted c where c.key_id is not null group by c.key_id) c),
    'refreshing', (select coalesce(sum(c.refreshing), 0) from counted c),
    'vault', private.has_vault())
$$;
comment on function public.get_google_token_status() is
'Counts of connections by status, reason and key id; nothing of their content. Service role only.';

revoke execute on function private.has_vault() from public;
revoke execute on function public.claim_google_tokens_to_reseal(text, integer, uuid)
from public, anon, authenticated, service_role;
grant execute on function public.claim_google_tokens_to_reseal(text, integer, uuid) to service_role;
revoke execute on function public.finish_google_token_reseals(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.finish_google_token_reseals(jsonb) to service_role;
revoke execute on function public.get_google_token_keys() from public, anon, authenticated, service_role;
grant execute on function public.get_google_token_keys() to service_role;
revoke execute on function public.get_google_token_status() from public, anon, authenticated, service_role;
grant execute on function public.get_google_token_status() to service_role;

-- sql/functions/google_tokens_refresh.sql
-- Refreshing: one refresher at a time per user, by a lease; outcomes are fenced by its token.

create or replace function private.next_run_of(user_id uuid) returns timestamptz
language sql
stable
set search_path = ''
as $$
  select least(
    (select min(q.run_at) from public.flow_execution_queue q where q.user_id = next_run_of.user_id),
    (select min(s.next_run_at) from public.flow_schedules s
      where s.user_id = next_run_of.user_id and s.paused_at is null))
$$;
comment on function private.next_run_of(uuid) is 'When a flow of this user runs next, as far as it is queued or scheduled.';

create or replace function public.claim_google_token_refreshes(
  refresher_id text, max integer, lead_seconds integer default 600, lease_seconds integer default 120,
  user_ids uuid[] default null
)
returns table (user_id uuid, key_id text, sealed_refresh_token text, lease_token uuid)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_until timestamptz;
  v_due uuid[];
  v_wanted uuid[];
begin
  if refresher_id is null or length(refresher_id) not between 1 and 200 then
    raise sqlstate 'PT400' using message = 'refresher_id must be a text of 1 to 200 characters, the refresher''s name';
  elsif max is null or max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', max);
  elsif lead_seconds is null or lead_seconds not between 0 and 86400 then
    raise sqlstate 'PT400' using message = format('lead_seconds must be from 0 to 86400, not %s', lead_seconds);
  elsif lease_seconds is null or lease_seconds not between 1 and 3600 then
    raise sqlstate 'PT400' using message = format('lease_seconds must be from 1 to 3600, not %s', lease_seconds);
  elsif user_ids is not null then
    perform private.check_google_user_ids(user_ids);
  end if;
  v_until := v_now + make_interval(secs => lead_seconds);

  if user_ids is null then
    -- By the index; more than is taken, since some are at rest.
    v_due := array(
      select t.user_id from private.google_tokens t
       where t.sealed_refresh_token is not null and t.next_refresh_at <= v_until
         and coalesce(t.retry_at, '-infinity') <= v_now and coalesce(t.refresh_lease_until, '-infinity') <= v_now
       order by t.next_refresh_at limit max * 5 for no key update skip locked);
  else
    -- Asked for: exactly these, as soon as their access token is about to expire.
    v_due := array(
      select t.user_id from private.google_tokens t
       where t.user_id = any (user_ids) and t.sealed_refresh_token is not null
         and coalesce(t.access_expires_at, '-infinity') <= v_until
         and coalesce(t.retry_at, '-infinity') <= v_now and coalesce(t.refresh_lease_until, '-infinity') <= v_now
       order by t.user_id for no key update skip locked);
  end if;
  if v_due = '{}' then
    return;
  end if;

  -- Nothing is done for who is suspended or leaving. Else: asked for, used within a day, or about to be used.
  v_wanted := array(
    select t.user_id
      from private.google_tokens t
      join public.user_profiles p on p.user_id = t.user_id
     where t.user_id = any (v_due) and p.suspended_at is null and p.deletion_requested_at is null
       and (user_ids is not null or t.last_used_at > v_now - interval '1 day' or private.next_run_of(t.user_id) <= v_until)
     order by t.next_refresh_at, t.user_id);
  if user_ids is null then
    -- The others rest: for a quarter of the time since their last use, but not beyond their next run.
    update private.google_tokens t
       set next_refresh_at = least(
             v_now + least(greatest((v_now - t.last_used_at) / 4, interval '15 minutes'), interval '1 day'),
             nullif(greatest(private.next_run_of(t.user_id), v_until), v_until))
     where t.user_id = any (v_due) and t.user_id <> all (v_wanted);
  end if;
  return query
    update private.google_tokens t
       set refresher_id = claim_google_token_refreshes.refresher_id, refresh_lease_token = gen_random_uuid(),
           refresh_lease_until = v_now + make_interval(secs => lease_seconds)
     where t.user_id = any (v_wanted[1:max])
    returning t.user_id, t.key_id, t.sealed_refresh_token, t.refresh_lease_token;
end
$$;
comment on function public.claim_google_token_refreshes(text, integer, integer, integer, uuid[]) is
'Leases tokens that expire within lead_seconds: of users who are active, or of those named. Service role only.';

create or replace function private.check_google_results(results jsonb) returns void
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_bad record;
begin
  if results is null or jsonb_typeof(results) <> 'array' or jsonb_array_length(results) > 1000 then
    raise sqlstate 'PT400' using message = 'results must be a list of at most 1000 items',
      hint = 'Each is {"user_id", "lease_token", "outcome", ...}.';
  end if;
  select e.n - 1 as n, p.problem into v_bad
    from jsonb_array_elements(results) with ordinality e(value, n)
   cross join lateral (
     select case
       when jsonb_typeof(e.value) <> 'object' then 'must be an object'
       when coalesce(e.value ->> 'user_id', '') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         then 'user_id must be a uuid'
       when coalesce(e.value ->> 'lease_token', '') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         then 'lease_token must be a uuid'
       when coalesce(e.value ->> 'outcome', '') not in ('refreshed', 'revoked', 'failed', 'released')
         then 'outcome must be refreshed, revoked, failed or released'
       when e.value ->> 'outcome' = 'refreshed' and coalesce(e.value ->> 'key_id', '') !~ '^[A-Za-z0-9_-]{1,40}$'
         then 'key_id must be 1 to 40 letters, digits, _ or -'
       when e.value ->> 'outcome' = 'refreshed' and not (
              private.is_sealed(e.value ->> 'sealed_access_token')
              and private.is_sealed(e.value ->> 'sealed_refresh_token'))
         then 'sealed_access_token and sealed_refresh_token must be sealed tokens, never readable ones'
       when not private.is_integer_between(
              coalesce(nullif(e.value -> 'expires_in_seconds', 'null'),
                       case e.value ->> 'outcome' when 'refreshed' then 'null' else '0' end::jsonb), 0, 31622400)
         then 'expires_in_seconds must be an integer from 0 to 31622400'
       when e.value ->> 'outcome' in ('revoked', 'failed') and coalesce(e.value ->> 'reason', '') !~ '^[a-z_]{1,40}$'
         then 'reason must be a category of 1 to 40 lower-case letters and _'
       when not private.is_number_between(e.value -> 'retry_after_seconds', 0, 86400)
         then 'retry_after_seconds must be a number from 0 to 86400'
     end as problem) p
   where p.problem is not null
   order by e.n limit 1;
  if found then
    raise sqlstate 'PT400' using message = format('results[%s]: %s', v_bad.n, v_bad.problem),
      hint = 'Nothing was changed. Correct the item and send the batch again.';
  end if;
end
$$;
comment on function private.check_google_results(jsonb) is
'Refuses a malformed batch as a whole, naming the item and the field, never a value.';

create or replace function public.finish_google_token_refreshes(results jsonb)
returns table (user_id uuid, answer text, status text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_accepted uuid[];
  v_revoked record;
begin
  perform private.check_google_results(results);
  -- In order of id, as everywhere.
  perform 1 from private.google_tokens t
    where t.user_id in (select (e.value ->> 'user_id')::uuid from jsonb_array_elements(results) e(value))
    order by t.user_id for no key update;

  with items as materialized (
    -- The same user twice in a batch counts once.
    select distinct on (r.user_id) r.*
      from jsonb_array_elements(results) with ordinality e(value, n)
     cross join lateral jsonb_to_record(e.value) r(
       user_id uuid, lease_token uuid, outcome text, key_id text, sealed_refresh_token text, sealed_access_token text,
       expires_in_seconds integer, reason text, retry_after_seconds double precision)
     order by r.user_id, e.n
  ),
  -- The fence: only who holds the lease. Every outcome is written out as the row that it leads to.
  ended as (
    select t.user_id, i.outcome, i.reason, x.*
      from items i
      join private.google_tokens t on t.user_id = i.user_id and t.refresh_lease_token = i.lease_token
     cross join lateral (
       select i.key_id, i.sealed_refresh_token, i.sealed_access_token,
              clock_timestamp() + make_interval(secs => i.expires_in_seconds) as access_expires_at, 'active' as status,
              null::text as why, t.version + 1 as version, 0 as failures, null::timestamptz as retry_at
        where i.outcome = 'refreshed'
       union all
       select null, null, null, null, 'revoked', i.reason, t.version + 1, t.failures, null
        where i.outcome = 'revoked'
       union all
       select t.key_id, t.sealed_refresh_token, t.sealed_access_token, t.access_expires_at, 'failing', i.reason,
              t.version, t.failures + 1, private.google_retry_at(t.failures, i.retry_after_seconds)
        where i.outcome = 'failed'
       union all
       select t.key_id, t.sealed_refresh_token, t.sealed_access_token, t.access_expires_at, t.status, t.reason,
              t.version, t.failures, t.retry_at
        where i.outcome = 'released') x
  ),
  written as (
    update private.google_tokens t
       set key_id = e.key_id, sealed_refresh_token = e.sealed_refresh_token,
           sealed_access_token = e.sealed_access_token, access_expires_at = e.access_expires_at,
           status = e.status, reason = e.why, version = e.version,
           failures = e.failures, retry_at = e.retry_at,
           next_refresh_at = case when e.outcome = 'released' then t.next_refresh_at
                                  else coalesce(e.retry_at, e.access_expires_at) end,
           refresher_id = null, refresh_lease_token = null, refresh_lease_until = null
      from ended e where e.user_id = t.user_id
    returning t.user_id
  )
  select array_agg(w.user_id) into v_accepted from written w;

  -- Those whom it concerns hear of it, and the trail has it.
  for v_revoked in
    select distinct t.user_id, t.reason
      from private.google_tokens t
      join jsonb_array_elements(results) e(value) on (e.value ->> 'user_id')::uuid = t.user_id
     where t.user_id = any (v_accepted) and t.status = 'revoked'
     order by t.user_id
  loop
    perform private.record_activity('google.revoked', v_revoked.user_id, 'google_token', null,
                                    jsonb_build_object('category', v_revoked.reason));
    perform realtime.send('{"status": "revoked"}', 'google_connection', 'user:' || v_revoked.user_id, true);
  end loop;

  return query
    select i.user_id, case when i.user_id = any (v_accepted) then 'accepted' else 'lease_lost' end, t.status
      from (select (e.value ->> 'user_id')::uuid as user_id, e.n
              from jsonb_array_elements(results) with ordinality e(value, n)) i
      left join private.google_tokens t on t.user_id = i.user_id
     order by i.n;
end
$$;
comment on function public.finish_google_token_refreshes(jsonb) is
'Ends refreshes behind their leases: refreshed, revoked (the user is told), failed (tried again later) or released. Service role only.';

create or replace function private.google_retry_at(failures integer, at_least_seconds double precision)
returns timestamptz
language sql
volatile
set search_path = ''
as $$
  -- From half a minute, doubling, to an hour; jittered down to half, and never sooner than Google asked for.
  select clock_timestamp() + make_interval(secs => greatest(
           coalesce(at_least_seconds, 0), (0.5 + random() / 2) * least(3600, 30 * power(2, least(failures, 10)))))
$$;
comment on function private.google_retry_at(integer, double precision) is 'When a failed refresh is tried again.';

revoke execute on function private.next_run_of(uuid) from public;
revoke execute on function private.check_google_results(jsonb) from public;
revoke execute on function private.google_retry_at(integer, double precision) from public;
revoke execute on function public.claim_google_token_refreshes(text, integer, integer, integer, uuid[])
from public, anon, authenticated, service_role;
grant execute on function public.claim_google_token_refreshes(text, integer, integer, integer, uuid[]) to service_role;
revoke execute on function public.finish_google_token_refreshes(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.finish_google_token_refreshes(jsonb) to service_role;

-- sql/functions/ids_and_time.sql
-- Small helpers that tables and other functions stand on.

create or replace function private.new_execution_id() returns uuid
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- A version 7 uuid (RFC 9562): 48 bits of Unix milliseconds, then random bits. Ids of one moment sit on one index page.
  return encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
              placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
              from 1 for 6),
      52, 1), 53, 1),
    'hex')::uuid;
end
$$;
comment on function private.new_execution_id() is 'A time-ordered execution id (uuid version 7).';

create or replace function private.execution_id_time(execution_id uuid) returns timestamptz
language sql
immutable
strict
set search_path = ''
as $$
  select to_timestamp(('x' || substr(replace(execution_id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0)
$$;
comment on function private.execution_id_time(uuid) is
'When an execution id was made; history is never older, so that a look-up by id skips earlier partitions.';

create or replace function private.touch_updated_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.updated_at := now();
  return new;
end
$$;
comment on function private.touch_updated_at() is 'Trigger: keeps updated_at.';

create or replace trigger touch_updated_at before update on public.subscription_tiers
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on public.user_profiles
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on public.flow_schedules
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on public.apps_script_owners
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on public.apps_script_instances
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on public.load_balancer_config
for each row execute function private.touch_updated_at();
create or replace trigger touch_updated_at before update on private.google_tokens
for each row execute function private.touch_updated_at();

revoke execute on function private.new_execution_id() from public;
revoke execute on function private.execution_id_time(uuid) from public;
revoke execute on function private.touch_updated_at() from public;

-- sql/functions/instances.sql
-- Which endpoint addresses are allowed at all.

create or replace function private.check_instance() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  -- scheme, host with an optional port, path; user information, queries and fragments do not match.
  v_parts text[] := regexp_match(new.url, '^(https?)://([A-Za-z0-9.-]+|\[::1\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/%-]*)$');
  v_host text := lower(v_parts[2]);
  v_allowed text[];
begin
  if v_parts is null then
    raise sqlstate 'PT400' using message = 'url must have the form https://host/path, with no user, query or fragment',
      hint = 'An Apps Script address looks like https://script.google.com/macros/s/<deployment id>/exec';
  end if;
  select c.allowed_hosts into v_allowed from public.load_balancer_config c;
  if not (v_host = any (v_allowed) and (v_parts[3] is null or v_parts[3] = ':443'))
     and not (v_host || coalesce(v_parts[3], '') = any (v_allowed)) then
    raise sqlstate 'PT400' using
      message = format('url: the host %s is not on the allow-list (%s)', v_host || coalesce(v_parts[3], ''),
                       array_to_string(v_allowed, ', ')),
      hint = 'Use an allowed host, or add this one to load_balancer_config.allowed_hosts first.';
  end if;
  if v_parts[1] = 'http' and v_host not in ('127.0.0.1', 'localhost', '[::1]') then
    raise sqlstate 'PT400' using message = 'url must use https; http is accepted for loopback addresses only',
      hint = 'Use the https address of the endpoint.';
  end if;
  if new.kind = 'apps_script' and v_parts[4] !~ '^/(a/macros/[^/]+|macros)/s/[A-Za-z0-9_-]+/exec$' then
    raise sqlstate 'PT400' using
      message = 'url: the path of an Apps Script deployment is /macros/s/<deployment id>/exec',
      hint = 'Copy the web app address that "Deploy, Manage deployments" shows; a path behind /exec leads to a login page.';
  end if;
  return new;
end
$$;
comment on function private.check_instance() is 'Trigger: only allowed hosts, https, and the address form of a deployment.';

create or replace trigger check_instance before insert or update of url, kind on public.apps_script_instances
for each row execute function private.check_instance();

revoke execute on function private.check_instance() from public;

-- sql/functions/limit_overrides.sql
-- Exceptions from the tier: they act at once, and go when they have ended.

create or replace function private.refresh_queue_rows(user_ids uuid[]) returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform 1 from private.user_queue q where q.user_id = any (user_ids) order by q.user_id for update;
  update private.user_queue q
     set tier = e.tier, weight = e.weight, max_running = e.max_running, suspended = e.suspended
    from private.effective_limits e
   where q.user_id = any (user_ids) and e.user_id = q.user_id
     and (q.tier, q.weight, q.max_running, q.suspended)
         is distinct from (e.tier, e.weight, e.max_running, e.suspended);
end
$$;
comment on function private.refresh_queue_rows(uuid[]) is
'Writes into the queue''s rows of users what holds for them now, for the next claim.';

create or replace function private.apply_override_to_queue() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.refresh_queue_rows(array[coalesce(new.user_id, old.user_id)]);
  return null;
end
$$;
comment on function private.apply_override_to_queue() is 'Trigger: an exception, or its end, acts on the next claim.';

create or replace trigger apply_override_to_queue after insert or update or delete on public.user_limit_overrides
for each row execute function private.apply_override_to_queue();

create or replace function private.end_overrides() returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_users uuid[];
begin
  -- One that is being changed is left to the next call; whoever changes it holds it before the queue's row, as here.
  select array_agg(o.user_id) into v_users
    from (select o.user_id from public.user_limit_overrides o
           where o.ends_at <= clock_timestamp()
           order by o.user_id limit 1000 for update skip locked) o;
  if v_users is null then
    return 0;
  end if;
  -- All rows of the queue in order, before the trigger takes them one by one.
  perform 1 from private.user_queue q where q.user_id = any (v_users) order by q.user_id for update;
  delete from public.user_limit_overrides o where o.user_id = any (v_users);
  return cardinality(v_users);
end
$$;
comment on function private.end_overrides() is
'Removes exceptions that have ended, up to 1,000 in a call, so that weight and running limit of the tier act again. Call it while no other rows are held.';

revoke execute on function private.refresh_queue_rows(uuid[]) from public;
revoke execute on function private.apply_override_to_queue() from public;
revoke execute on function private.end_overrides() from public;

-- sql/functions/limit_windows.sql
-- Sliding windows over rate_limit_tracking. The rows are the truth; the counts beside them save reading them again.

create or replace function private.count_since(
  user_id uuid, flow_id uuid, since timestamptz, counted_from timestamptz, counted bigint
) returns bigint
language plpgsql
stable
set search_path = ''
as $$
declare
  v_from timestamptz := counted_from;
  v_to timestamptz := since;
  v_between bigint;
begin
  -- The count is moved from one horizon to the other. Over more than a day it is made anew: what is that old may have
  -- been dropped with its partition.
  if v_from is null or v_from not between since - interval '1 day' and since + interval '1 day' then
    v_from := since;
    v_to := 'infinity';
  end if;
  if count_since.flow_id is null then
    select count(*) into v_between from public.rate_limit_tracking t
     where t.user_id = count_since.user_id
       and t.accepted_at > least(v_from, v_to) and t.accepted_at <= greatest(v_from, v_to);
  else
    select count(*) into v_between from public.rate_limit_tracking t
     where t.flow_id = count_since.flow_id
       and t.accepted_at > least(v_from, v_to) and t.accepted_at <= greatest(v_from, v_to);
  end if;
  return case when v_to = 'infinity' then v_between
              when v_to > v_from then counted - v_between
              else counted + v_between end;
end
$$;
comment on function private.count_since(uuid, uuid, timestamptz, timestamptz, bigint) is
'How many executions of a user (or of a flow with limits) were accepted after a moment, from the count after another one.';

create or replace function private.closed_spans(
  user_id uuid, flow_id uuid, since timestamptz, counted bigint, most integer, seconds integer
) returns tstzmultirange
language plpgsql
stable
set search_path = ''
as $$
declare
  v_window constant interval := make_interval(secs => seconds);
  v_runs constant bigint := counted - most + 1;
  v_firsts timestamptz[];
  v_lasts timestamptz[];
begin
  -- Every run of `most` acceptances that fits into one window closes the time in which one more would overflow it: from
  -- the window's length before its last to the window's length after its first. There are as many runs as acceptances
  -- that are too many, so both ends of the row of acceptances are read, and not what lies between.
  if closed_spans.flow_id is null then
    v_firsts := array(select t.accepted_at from public.rate_limit_tracking t
                       where t.user_id = closed_spans.user_id and t.accepted_at > since
                       order by t.accepted_at limit v_runs);
    v_lasts := array(select t.accepted_at from public.rate_limit_tracking t
                      where t.user_id = closed_spans.user_id and t.accepted_at > since
                      order by t.accepted_at desc limit v_runs);
  else
    v_firsts := array(select t.accepted_at from public.rate_limit_tracking t
                       where t.flow_id = closed_spans.flow_id and t.accepted_at > since
                       order by t.accepted_at limit v_runs);
    v_lasts := array(select t.accepted_at from public.rate_limit_tracking t
                      where t.flow_id = closed_spans.flow_id and t.accepted_at > since
                      order by t.accepted_at desc limit v_runs);
  end if;
  return (select coalesce(range_agg(tstzrange(r.last - v_window, r.first + v_window, '()')), '{}')
            from (select v_firsts[n] as first, v_lasts[v_runs + 1 - n] as last from generate_series(1, v_runs) n) r
           where r.last - r.first < v_window);
end
$$;
comment on function private.closed_spans(uuid, uuid, timestamptz, bigint, integer, integer) is
'When one more acceptance would overflow a window, as far as acceptances after `since` (of which there are `counted`) decide.';

create or replace function private.opens_at(spans tstzmultirange, moment timestamptz) returns timestamptz
language plpgsql
immutable
set search_path = ''
as $$
begin
  -- The spans are open intervals that do not touch: the end of one is free.
  return (select upper(s.span) from unnest(spans) s(span) where s.span @> moment);
end
$$;
comment on function private.opens_at(tstzmultirange, timestamptz) is 'The end of the closed span that a moment lies in; null: it lies in none.';

create or replace function private.forget_counts() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform 1 from private.user_queue q where q.user_id in (select c.user_id from changed c) order by q.user_id for update;
  update private.user_queue q set hour_from = null, day_from = null, month_from = null, full_until = null
   where q.user_id in (select c.user_id from changed c);
  update private.flow_windows w set burst_from = null, hour_from = null, day_from = null
   where w.flow_id in (select c.flow_id from changed c);
  return null;
end
$$;
comment on function private.forget_counts() is 'Trigger: where acceptances change or go, what was counted of them is counted anew.';

create or replace trigger forget_counts_of_deleted after delete on public.rate_limit_tracking
referencing old table as changed for each statement execute function private.forget_counts();
create or replace trigger forget_counts_of_changed after update on public.rate_limit_tracking
referencing old table as changed for each statement execute function private.forget_counts();

revoke execute on function private.count_since(uuid, uuid, timestamptz, timestamptz, bigint) from public;
revoke execute on function private.closed_spans(uuid, uuid, timestamptz, bigint, integer, integer) from public;
revoke execute on function private.opens_at(tstzmultirange, timestamptz) from public;
revoke execute on function private.forget_counts() from public;

-- sql/functions/maintenance.sql
-- Housekeeping: what has to go, goes in bounded steps, called by every worker every few minutes.

create or replace function private.prune_idempotency_keys(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_pruned integer;
begin
  with old as (
    select k.user_id, k.idempotency_key from private.idempotency_keys k
     where k.created_at <= clock_timestamp() - interval '1 day'
     limit most for update skip locked
  )
  delete from private.idempotency_keys k using old o
   where k.user_id = o.user_id and k.idempotency_key = o.idempotency_key;
  get diagnostics v_pruned = row_count;
  return v_pruned;
end
$$;
comment on function private.prune_idempotency_keys(integer) is 'Forgets keys a day old.';

create or replace function private.prune_processors() returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_pruned integer;
begin
  delete from public.queue_processors p
   where p.last_heartbeat_at < clock_timestamp() - interval '1 day'
     and not exists (select 1 from public.flow_execution_queue q where q.state = 'running' and q.processor_id = p.id);
  get diagnostics v_pruned = row_count;
  return v_pruned;
end
$$;
comment on function private.prune_processors() is 'Forgets processors that were silent for a day.';

create or replace function public.maintain_queue() returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_done jsonb := jsonb_build_object('skipped', false);
begin
  -- One at a time; who comes second finds it being done.
  if not pg_try_advisory_xact_lock(7305151, 2) then
    return jsonb_build_object('skipped', true);
  end if;
  -- First what wants rows of users, in their order, while nothing else is held.
  v_done := v_done || jsonb_build_object('overrides_ended', private.end_overrides());
  v_done := v_done || jsonb_build_object('sign_ins_ended', private.end_sign_ins(1000));
  v_done := v_done || jsonb_build_object('idempotency_keys_pruned', private.prune_idempotency_keys(10000));
  v_done := v_done || jsonb_build_object('processors_pruned', private.prune_processors());
  v_done := v_done || jsonb_build_object('sessions_pruned', private.prune_sessions(5000));
  v_done := v_done || jsonb_build_object('deletions_finished', private.finish_deletion());
  v_done := v_done || jsonb_build_object('history_erased', private.erase_history(10000));
  v_done := v_done || jsonb_build_object('activity_chained', private.chain_activity(10000));
  v_done := v_done || jsonb_build_object('history_copied', private.copy_history(interval '1 second'));
  -- Last what locks whole tables, so that the transaction ends right after it.
  return v_done || jsonb_build_object('partitions', private.maintain_partitions());
end
$$;
comment on function public.maintain_queue() is
'Housekeeping in bounded steps: what has ended, is erased or past its retention goes, and partitions are made ahead. Safe to call often and from many. Service role only.';

revoke execute on function private.prune_idempotency_keys(integer) from public;
revoke execute on function private.prune_processors() from public;
revoke execute on function public.maintain_queue() from public, anon, authenticated, service_role;
grant execute on function public.maintain_queue() to service_role;

-- sql/functions/messages.sql
-- What a caller wrote, in a message to them.

create or replace function private.plain(value text, most integer) returns text
language sql
immutable
set search_path = ''
as $$
  select left(regexp_replace(value, '[[:cntrl:]]', '?', 'g'), most)
$$;
comment on function private.plain(text, integer) is
'The beginning of a text without control characters. The API puts a refusal''s message into the first line of its answer, so a line break in it would let a caller write the lines after it.';

revoke execute on function private.plain(text, integer) from public;

-- sql/functions/my_executions.sql
-- A user's own executions, page by page.

create or replace function public.list_my_executions(before timestamptz default null, max integer default 50)
returns table (
  execution_id uuid, flow_id uuid, flow_name text, state text, attempt integer, priority smallint,
  run_at timestamptz, queued_at timestamptz, started_at timestamptz, finished_at timestamptz,
  instance_id uuid, error jsonb, result jsonb
)
language plpgsql
stable
security definer
set search_path = ''
-- A page is read in the order of the index. Postgres underestimates who has a long history, and would sort all of it.
set enable_sort = off
as $$
#variable_conflict use_column
declare
  v_user uuid := auth.uid();
begin
  if v_user is null then
    raise sqlstate 'PT401' using message = 'list_my_executions answers the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token; get_user_executions has those of others.';
  elsif list_my_executions.max is null or list_my_executions.max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', coalesce(list_my_executions.max::text, 'null'));
  end if;
  return query
    (select q.id, q.flow_id, f.name, q.state, q.attempt, q.priority, q.run_at, q.queued_at, q.started_at,
            null::timestamptz, q.instance_id, q.last_error, null::jsonb
       from public.flow_execution_queue q
       join public.flows f on f.id = q.flow_id
      where q.user_id = v_user and list_my_executions.before is null
      order by q.queued_at desc
      limit list_my_executions.max)
    union all
    (select l.execution_id, l.flow_id, l.flow_name, l.outcome, l.attempt, l.priority, null::timestamptz, l.queued_at,
            l.started_at, l.finished_at, l.instance_id, l.error, l.result
       from public.execution_logs l
      where l.user_id = v_user and l.is_final
        and l.finished_at < coalesce(list_my_executions.before, 'infinity')
      order by l.finished_at desc
      limit list_my_executions.max)
    limit list_my_executions.max;
end
$$;
comment on function public.list_my_executions(timestamptz, integer) is
'Your executions: live ones first, then past ones, latest first. For the next page, before is the last finished_at; infinity when all of the page was live.';

revoke execute on function public.list_my_executions(timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function public.list_my_executions(timestamptz, integer) to authenticated, service_role;

-- sql/functions/partitions.sql
-- Partitions are made ahead and dropped whole. Whatever takes a lock on a table that is in use gives way after 200 ms
-- (nobody waits longer than that for housekeeping) and is done by a later call.

create or replace function private.partitions_of(parent text)
returns table (name text, from_moment timestamptz, to_moment timestamptz)
language sql
stable
set search_path = ''
as $$
  select c.relname::text, b.bounds[1]::timestamptz, b.bounds[2]::timestamptz
    from pg_catalog.pg_inherits h
    join pg_catalog.pg_class c on c.oid = h.inhrelid
   cross join lateral regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\) TO \(''([^'']+)''\)') b(bounds)
   where h.inhparent = format('public.%I', parent)::regclass and b.bounds is not null
   order by 2
$$;
comment on function private.partitions_of(text) is 'Partitions of a public table with their bounds, the oldest first; without the default one.';

create or replace function private.make_partition(parent text, from_moment timestamptz, to_moment timestamptz)
returns void
language plpgsql
security definer
set search_path = ''
set lock_timeout = '200ms'
as $$
declare
  v_name text := format('%s_%s', parent, to_char(from_moment at time zone 'UTC', 'YYYYMMDD'));
  v_column text;
begin
  select a.attname into v_column
    from pg_catalog.pg_partitioned_table t
    join pg_catalog.pg_attribute a on a.attrelid = t.partrelid and a.attnum = t.partattrs[0]
   where t.partrelid = format('public.%I', parent)::regclass;
  execute format('create table partitions.%I (like public.%I including defaults including constraints)', v_name, parent);
  execute format('alter table partitions.%I enable row level security', v_name);
  -- What landed in the default partition for want of this one moves over. Nothing may land there in between.
  execute format('lock table public.%I in share update exclusive mode', parent);
  execute format('lock table partitions.%I in access exclusive mode', parent || '_default');
  execute format('with moved as (delete from partitions.%1$I d where d.%2$I >= $1 and d.%2$I < $2 returning *)
                  insert into partitions.%3$I select * from moved',
                 parent || '_default', v_column, v_name) using from_moment, to_moment;
  execute format('alter table public.%I attach partition partitions.%I for values from (%L) to (%L)',
                 parent, v_name, from_moment, to_moment);
end
$$;
comment on function private.make_partition(text, timestamptz, timestamptz) is
'Makes one partition of a public table, unexposed, and fills it from the default partition.';

create or replace function private.drop_partition(parent text, name text) returns void
language plpgsql
security definer
set search_path = ''
set lock_timeout = '200ms'
as $$
begin
  if parent = 'user_activity_logs' then
    perform private.move_activity_horizon(name);
  elsif parent = 'execution_logs' then
    execute format('drop table if exists partitions.%I', name || '_rewrite');
    delete from private.history_rewrites r where r.partition = name;
  end if;
  execute format('drop table partitions.%I', name);
end
$$;
comment on function private.drop_partition(text, text) is 'Drops a partition, and what is noted about it.';

create or replace function private.partition_gaps(policy private.partition_policies)
returns table (from_moment timestamptz, to_moment timestamptz)
language sql
stable
set search_path = ''
as $$
  -- From the period before this one on: a processor's late row and a clock that jumped have a place. Where the period of
  -- a table was changed, partitions of another length stand there already, and only what they leave is missing.
  with covered as (
    select coalesce(range_agg(tstzrange(p.from_moment, p.to_moment)), '{}') as spans
      from private.partitions_of(policy.parent) p
  ),
  due as (
    select date_trunc(policy.period, clock_timestamp() at time zone 'UTC') + n * ('1 ' || policy.period)::interval as begins_at
      from generate_series(-1, policy.periods_ahead) n
  )
  select lower(g.gap), upper(g.gap)
    from due d
   cross join covered c
   cross join lateral unnest(
     tstzmultirange(tstzrange(d.begins_at at time zone 'UTC',
                              (d.begins_at + ('1 ' || policy.period)::interval) at time zone 'UTC')) - c.spans) g(gap)
   order by 1
$$;
comment on function private.partition_gaps(private.partition_policies) is 'Spans for which a partition should be there, and is not.';

create or replace function private.maintain_partitions() returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_policy private.partition_policies;
  v_span record;
  v_keep interval;
  v_rewritten text;
  v_made text[] := '{}';
  v_dropped text[] := '{}';
  v_postponed text[] := '{}';
begin
  begin
    v_rewritten := private.exchange_history();
  exception
    when lock_not_available then
      v_postponed := v_postponed || 'execution_logs'::text;
  end;
  for v_policy in select * from private.partition_policies p order by p.parent loop
    for v_span in select * from private.partition_gaps(v_policy) loop
      begin
        perform private.make_partition(v_policy.parent, v_span.from_moment, v_span.to_moment);
        v_made := v_made || format('%s %s', v_policy.parent, (v_span.from_moment at time zone 'UTC')::date);
      exception
        when lock_not_available then
          v_postponed := v_postponed || v_policy.parent;
      end;
    end loop;

    v_keep := coalesce(v_policy.keep, (select make_interval(days => max(t.log_retention_days))
                                         from public.subscription_tiers t));
    for v_span in
      select p.name from private.partitions_of(v_policy.parent) p where p.to_moment <= clock_timestamp() - v_keep
    loop
      begin
        perform private.drop_partition(v_policy.parent, v_span.name);
        v_dropped := v_dropped || v_span.name::text;
      exception
        when lock_not_available then
          v_postponed := v_postponed || v_span.name::text;
      end;
    end loop;
  end loop;
  return jsonb_build_object('made', v_made, 'dropped', v_dropped, 'rewritten', v_rewritten, 'postponed', v_postponed);
end
$$;
comment on function private.maintain_partitions() is
'Makes partitions ahead, puts a finished copy in its place, drops what is past its retention; postponed: others use it.';

revoke execute on function private.partitions_of(text) from public;
revoke execute on function private.make_partition(text, timestamptz, timestamptz) from public;
revoke execute on function private.drop_partition(text, text) from public;
revoke execute on function private.partition_gaps(private.partition_policies) from public;
revoke execute on function private.maintain_partitions() from public;

-- sql/functions/permissions.sql
-- Who may do what: roles are read from user_profiles, what a role may do from role_permissions. Never from a token.

create or replace function private.is_service() returns boolean
language sql
stable
set search_path = ''
as $$
  -- The secret key; or a direct connection of the schema's owner (Studio, psql), which carries no token.
  select coalesce(auth.role() = 'service_role', session_user <> 'authenticator')
$$;
comment on function private.is_service() is 'Whether the caller holds the secret key, or is the owner of the database itself.';

create or replace function public.has_permission(permission text) returns boolean
language sql
stable
security definer
set search_path = ''
as $$
  select private.is_service() or exists (
    select 1
      from public.user_profiles p
      join public.role_permissions r on r.role = p.role
     where p.user_id = (select auth.uid())
       and p.suspended_at is null and p.deletion_requested_at is null
       and r.permission = has_permission.permission)
$$;
comment on function public.has_permission(text) is
'Whether the caller may do this. The service role may do everything; a suspended person nothing.';

create or replace function private.require_permission(permission text) returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if public.has_permission(permission) then
    return;
  elsif auth.uid() is null then
    raise sqlstate 'PT401' using message = format('this needs the permission %s, and nobody is signed in', permission),
      hint = 'Call it with the access token of a person who has it, or with the secret key.';
  end if;
  raise sqlstate 'PT403' using message = format('this needs the permission %s, which your role does not have', permission),
    hint = 'Ask an owner of this project.';
end
$$;
comment on function private.require_permission(text) is 'Refuses a caller who may not do this: 401 without a person, 403 otherwise.';

revoke execute on function private.is_service() from public;
revoke execute on function private.require_permission(text) from public;
revoke execute on function public.has_permission(text) from public, anon, authenticated, service_role;
grant execute on function public.has_permission(text) to authenticated, service_role;

-- sql/functions/processors.sql
-- Claimers: registration and heartbeats.

create or replace function public.register_queue_processor(
  processor_id text, host text, version text, max_in_flight integer
)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  if processor_id is null or length(processor_id) not between 1 and 200 then
    raise sqlstate 'PT400' using message = 'processor_id must be a text of 1 to 200 characters that names the claimer';
  elsif max_in_flight is null or max_in_flight < 1 then
    raise sqlstate 'PT400' using message = format('max_in_flight must be a positive integer, not %s', max_in_flight);
  end if;
  insert into public.queue_processors as p (id, host, version, max_in_flight)
  values (processor_id, left(host, 200), left(version, 100), register_queue_processor.max_in_flight)
  on conflict (id) do update
    set host = excluded.host, version = excluded.version, max_in_flight = excluded.max_in_flight,
        draining = false, started_at = clock_timestamp(), last_heartbeat_at = clock_timestamp();
end
$$;
comment on function public.register_queue_processor(text, text, text, integer) is 'Announces a claimer. Service role only.';

create or replace function public.heartbeat_flow_executions(
  processor_id text, lease_seconds integer, leases jsonb default null
)
returns table (execution_id uuid, attempt integer, answer text, cancel_requested boolean)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_leases jsonb := leases;
begin
  if processor_id is null then
    raise sqlstate 'PT400' using message = 'processor_id must be a text of 1 to 200 characters that names the claimer';
  elsif lease_seconds is null or lease_seconds not between 1 and 3600 then
    raise sqlstate 'PT400' using message = format('lease_seconds must be an integer from 1 to 3600, not %s', lease_seconds);
  end if;
  if v_leases is null then
    select coalesce(jsonb_agg(jsonb_build_object('execution_id', q.id, 'attempt', q.attempt, 'lease_token', q.lease_token)), '[]')
      into v_leases
      from public.flow_execution_queue q
     where q.state = 'running' and q.processor_id = heartbeat_flow_executions.processor_id;
  else
    v_leases := private.leases_as_results(leases, null);
    perform private.check_results(v_leases);
  end if;

  update public.queue_processors p
     set last_heartbeat_at = clock_timestamp(), in_flight = jsonb_array_length(v_leases)
   where p.id = heartbeat_flow_executions.processor_id;

  return query
  with items as materialized (
    select e.n, r.* from jsonb_array_elements(v_leases) with ordinality e(value, n)
     cross join lateral jsonb_to_record(e.value) r(execution_id uuid, attempt integer, lease_token uuid)
  ),
  held as materialized (
    -- In order of id. A row that is being ended right now is skipped: its lease is over either way.
    select q.id from public.flow_execution_queue q
      join items i on q.id = i.execution_id and q.attempt = i.attempt and q.lease_token = i.lease_token
     where q.state = 'running' and q.processor_id = heartbeat_flow_executions.processor_id
     order by q.id
       for no key update of q
  ),
  extended as (
    update public.flow_execution_queue q
       set lease_expires_at = clock_timestamp() + make_interval(secs => heartbeat_flow_executions.lease_seconds)
      from held h where q.id = h.id
    returning q.id, q.lease_token, q.cancel_requested_at is not null as cancel_requested
  )
  select i.execution_id, i.attempt, case when x.id is not null then 'extended' else 'lease_lost' end,
         coalesce(x.cancel_requested, false)
    from items i
    left join extended x on x.id = i.execution_id and x.lease_token = i.lease_token
   order by i.n;
end
$$;
comment on function public.heartbeat_flow_executions(text, integer, jsonb) is
'Extends leases of a processor in one call, and tells which are lost and which are to be cancelled. Service role only.';

revoke execute on function public.register_queue_processor(text, text, text, integer)
from public, anon, authenticated, service_role;
grant execute on function public.register_queue_processor(text, text, text, integer) to service_role;
revoke execute on function public.heartbeat_flow_executions(text, integer, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.heartbeat_flow_executions(text, integer, jsonb) to service_role;

-- sql/functions/retention.sql
-- Log retention by tier. A partition that is past the retention of some tiers is copied without their rows, in bounded
-- steps beside all traffic, and exchanged for the copy in one transaction: rows go with a dropped table, never by delete.

create or replace function private.follow_rewrite() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_copy text := tg_table_name || '_rewrite';
  v_going text[];
begin
  if tg_op <> 'INSERT' then
    execute format('delete from partitions.%I c where c.execution_id = $1 and c.attempt = $2 and c.finished_at = $3', v_copy)
      using old.execution_id, old.attempt, old.finished_at;
  end if;
  select r.going into v_going from private.history_rewrites r where r.partition = tg_table_name;
  if tg_op <> 'DELETE' and (new.tier = any (v_going)) is not true then
    execute format('insert into partitions.%I select ($1).*', v_copy) using new;
  end if;
  return null;
end
$$;
comment on function private.follow_rewrite() is
'Trigger on a partition that is being copied: what is erased or changed in it is so in the copy as well.';

create or replace function private.begin_rewrite() returns private.history_rewrites
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_due record;
  v_rewrite private.history_rewrites;
begin
  select p.name, p.from_moment, p.to_moment, array_agg(t.tier order by t.tier) as tiers into v_due
    from private.partitions_of('execution_logs') p
    join public.subscription_tiers t on p.to_moment <= clock_timestamp() - make_interval(days => t.log_retention_days)
    left join private.history_rewrites r on r.partition = p.name
   -- Past the longest retention it is dropped as it is.
   where p.to_moment > clock_timestamp() - (select make_interval(days => max(l.log_retention_days))
                                              from public.subscription_tiers l)
   group by p.name, p.from_moment, p.to_moment, r.gone
  having not array_agg(t.tier) <@ coalesce(r.gone, '{}')
   order by p.from_moment
   limit 1;
  if not found then
    return null;
  end if;
  execute format('create table partitions.%I (like public.execution_logs
                    including defaults including constraints including indexes)', v_due.name || '_rewrite');
  execute format('alter table partitions.%I enable row level security', v_due.name || '_rewrite');
  -- The bounds as a check: attaching believes it, and does not read the table under its lock.
  execute format('alter table partitions.%I add constraint within_bounds check (finished_at >= %L and finished_at < %L)',
                 v_due.name || '_rewrite', v_due.from_moment, v_due.to_moment);
  execute format('create trigger follow_rewrite after insert or update or delete on partitions.%I
                    for each row execute function private.follow_rewrite()', v_due.name);
  insert into private.history_rewrites as r (partition, going) values (v_due.name, v_due.tiers)
  on conflict (partition) do update set going = excluded.going, next_block = 0, changed_at = clock_timestamp()
  returning * into v_rewrite;
  return v_rewrite;
end
$$;
comment on function private.begin_rewrite() is
'Begins the copy of the oldest partition that holds rows of tiers past their retention; null when there is none.';

create or replace function private.abandon_rewrite(partition text) returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  execute format('drop table if exists partitions.%I', partition || '_rewrite');
  if to_regclass(format('partitions.%I', partition)) is null then
    delete from private.history_rewrites r where r.partition = abandon_rewrite.partition;
  else
    execute format('drop trigger if exists follow_rewrite on partitions.%I', partition);
    update private.history_rewrites r set going = null, changed_at = clock_timestamp()
     where r.partition = abandon_rewrite.partition;
  end if;
end
$$;
comment on function private.abandon_rewrite(text) is 'Throws a copy away that cannot be finished; it is begun anew later.';

create or replace function private.columns_of(relation regclass) returns text[]
language sql
stable
set search_path = ''
as $$
  select array_agg(format('%s %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull) order by a.attnum)
    from pg_catalog.pg_attribute a
   where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
$$;
comment on function private.columns_of(regclass) is 'Names, types and nullability of a table''s columns, in order.';

create or replace function private.copy_history(budget interval, step_blocks integer default 256) returns jsonb
language plpgsql
security definer
set search_path = ''
set lock_timeout = '200ms'
as $$
declare
  v_until timestamptz := clock_timestamp() + budget;
  v_rewrite private.history_rewrites;
  v_blocks bigint;
  v_rows bigint;
  v_copied bigint := 0;
begin
  select * into v_rewrite from private.history_rewrites r where r.going is not null order by r.partition limit 1;
  if found and private.columns_of(to_regclass(format('partitions.%I', v_rewrite.partition || '_rewrite')))
               is distinct from private.columns_of(to_regclass(format('partitions.%I', v_rewrite.partition))) then
    -- The table was changed, or the partition dropped by hand.
    perform private.abandon_rewrite(v_rewrite.partition);
    v_rewrite := null;
  end if;
  if v_rewrite.partition is null then
    v_rewrite := private.begin_rewrite();
  end if;
  if v_rewrite.partition is null then
    return jsonb_build_object('partition', null, 'copied', 0);
  end if;

  -- Who changes rows of that partition waits for the end of this call; who reads it, or writes elsewhere, does not.
  execute format('lock table partitions.%I in share mode', v_rewrite.partition);
  v_blocks := private.blocks_of(v_rewrite.partition);
  while v_rewrite.next_block < v_blocks loop
    execute format('insert into partitions.%I select * from partitions.%I t
                     where t.ctid >= $1 and t.ctid < $2 and (t.tier = any ($3)) is not true
                    on conflict do nothing', v_rewrite.partition || '_rewrite', v_rewrite.partition)
      using format('(%s,0)', v_rewrite.next_block)::tid,
            format('(%s,0)', v_rewrite.next_block + step_blocks)::tid, v_rewrite.going;
    get diagnostics v_rows = row_count;
    v_copied := v_copied + v_rows;
    v_rewrite.next_block := v_rewrite.next_block + step_blocks;
    exit when clock_timestamp() >= v_until;
  end loop;
  update private.history_rewrites r set next_block = v_rewrite.next_block, changed_at = clock_timestamp()
   where r.partition = v_rewrite.partition;
  return jsonb_build_object('partition', v_rewrite.partition, 'copied', v_copied);
exception
  when lock_not_available then
    return jsonb_build_object('partition', v_rewrite.partition, 'copied', 0, 'postponed', true);
end
$$;
comment on function private.copy_history(interval, integer) is
'Goes on copying what stays of a partition, for as long as the budget says and at least one step of blocks.';

create or replace function private.blocks_of(partition text) returns bigint
language sql
stable
set search_path = ''
as $$
  select pg_relation_size(format('partitions.%I', partition)::regclass) / current_setting('block_size')::bigint
$$;
comment on function private.blocks_of(text) is 'How many blocks a partition has.';

create or replace function private.exchange_history() returns text
language plpgsql
security definer
set search_path = ''
set lock_timeout = '200ms'
as $$
declare
  v_rewrite private.history_rewrites;
  v_span record;
  v_any boolean;
begin
  select * into v_rewrite from private.history_rewrites r
   where r.going is not null and to_regclass(format('partitions.%I', r.partition)) is not null
     and r.next_block >= private.blocks_of(r.partition);
  if not found then
    return null;
  end if;
  execute 'lock table public.execution_logs in access exclusive mode';
  select * into v_span from private.partitions_of('execution_logs') p where p.name = v_rewrite.partition;
  execute format('alter table public.execution_logs detach partition partitions.%I', v_rewrite.partition);
  execute format('drop table partitions.%I', v_rewrite.partition);
  execute format('select exists (select 1 from partitions.%I)', v_rewrite.partition || '_rewrite') into v_any;
  if not v_any then
    execute format('drop table partitions.%I', v_rewrite.partition || '_rewrite');
    delete from private.history_rewrites r where r.partition = v_rewrite.partition;
    return v_rewrite.partition;
  end if;
  execute format('alter table partitions.%I rename to %I', v_rewrite.partition || '_rewrite', v_rewrite.partition);
  execute format('alter table public.execution_logs attach partition partitions.%I for values from (%L) to (%L)',
                 v_rewrite.partition, v_span.from_moment, v_span.to_moment);
  execute format('alter table partitions.%I drop constraint within_bounds', v_rewrite.partition);
  update private.history_rewrites r
     set gone = array(select distinct t.tier from unnest(r.gone || r.going) t(tier) order by 1), going = null, next_block = 0, changed_at = clock_timestamp()
   where r.partition = v_rewrite.partition;
  return v_rewrite.partition;
end
$$;
comment on function private.exchange_history() is
'Puts a finished copy in the place of its partition, which is dropped with the rows that were past their retention.';

revoke execute on function private.follow_rewrite() from public;
revoke execute on function private.begin_rewrite() from public;
revoke execute on function private.abandon_rewrite(text) from public;
revoke execute on function private.columns_of(regclass) from public;
revoke execute on function private.copy_history(interval, integer) from public;
revoke execute on function private.blocks_of(text) from public;
revoke execute on function private.exchange_history() from public;

-- sql/functions/session_context.sql
-- Context of sessions: commands and snapshots. The signed-in user acts on their own sessions, a service on anyone's.

create or replace function private.find_session(session_id uuid) returns public.sessions
language plpgsql
stable
set search_path = ''
as $$
declare
  v_session public.sessions;
begin
  if auth.uid() is null and not private.is_service() then
    raise sqlstate 'PT401' using message = 'sessions belong to the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  end if;
  select * into v_session from public.sessions s
   where s.id = find_session.session_id and (auth.uid() is null or s.user_id = auth.uid());
  if not found then
    raise sqlstate 'PT404' using message = format('session_id: there is no session %s', find_session.session_id),
      hint = 'Check the id; you can use your own sessions only. One that was idle for long is removed.';
  end if;
  return v_session;
end
$$;
comment on function private.find_session(uuid) is 'A session that the caller may act on; 404 for any other.';

create or replace function private.hold_context(user_id uuid) returns bigint
language plpgsql
set search_path = ''
as $$
declare
  v_limits private.effective_limits;
begin
  -- The profile first: a deletion of the user comes before all of this, or after it.
  perform 1 from public.user_profiles p where p.user_id = hold_context.user_id for key share;
  insert into private.context_usage (user_id)
  select p.user_id from public.user_profiles p where p.user_id = hold_context.user_id
  on conflict do nothing;
  perform 1 from private.context_usage u where u.user_id = hold_context.user_id for update;
  if not found then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', hold_context.user_id);
  end if;
  select * into v_limits from private.effective_limits e where e.user_id = hold_context.user_id;
  if v_limits.suspended then
    raise sqlstate 'PT403' using message = 'your account is suspended: nothing is stored',
      hint = 'Your data stays readable. Ask support.';
  end if;
  return v_limits.context_limit_bytes;
end
$$;
comment on function private.hold_context(uuid) is
'Locks the row of a user whose context grows, and answers how many bytes they may keep. Refuses who is suspended.';

create or replace function private.hold_open_session(session_id uuid) returns public.sessions
language plpgsql
set search_path = ''
as $$
declare
  v_session public.sessions;
begin
  select * into v_session from public.sessions s where s.id = hold_open_session.session_id for no key update;
  if not found then
    raise sqlstate 'PT404' using message = format('session_id: there is no session %s', hold_open_session.session_id),
      hint = 'It was deleted a moment ago. Start another one.';
  elsif v_session.state = 'closed' then
    raise sqlstate 'PT409' using message = 'session_id: the session is closed', hint = 'Start another one.';
  end if;
  return v_session;
end
$$;
comment on function private.hold_open_session(uuid) is 'Locks a session, after the row of its user. 409 when it is closed.';

create or replace function private.active_at(last_active_at timestamptz) returns timestamptz
language sql
volatile
set search_path = ''
as $$
  -- An index stands on it: it moves once a minute at most, and updates in between stay within their page.
  select case when last_active_at > clock_timestamp() - interval '1 minute' then last_active_at else clock_timestamp() end
$$;
comment on function private.active_at(timestamptz) is 'When a session was last active, given what is noted, to the minute.';

create or replace function private.refuse_command(most integer) returns void
language plpgsql
set search_path = ''
as $$
declare
  v_seconds integer := ceil(extract(epoch from
    (date_trunc('day', clock_timestamp() at time zone 'UTC') + interval '1 day') at time zone 'UTC' - clock_timestamp()));
begin
  raise sqlstate 'PGRST' using
    message = jsonb_build_object(
      'code', 'PT429',
      'message', format('command: you have recorded %s commands today, and that is the most', most),
      'details', jsonb_build_object('limit', most, 'remaining', 0, 'retry_after_seconds', v_seconds)::text,
      'hint', 'Nothing was recorded. The next day (UTC) begins anew.')::text,
    detail = jsonb_build_object(
      'status', 429, 'headers', jsonb_build_object('Retry-After', v_seconds::text))::text;
end
$$;
comment on function private.refuse_command(integer) is 'Tells who has recorded too many commands when they can go on: 429.';

create or replace function public.record_command(
  session_id uuid, command text, arguments jsonb default '{}', outcome text default 'succeeded',
  ordinal integer default null, execution_id uuid default null, duration_ms integer default null
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_most constant integer := 10000;
  v_session public.sessions := private.find_session(session_id);
  v_today date := (clock_timestamp() at time zone 'UTC')::date;
  v_known public.command_history;
begin
  if command is null or length(command) not between 1 and 2000 then
    raise sqlstate 'PT400' using message = format('command must be a text of 1 to 2000 characters, not of %s', coalesce(length(command), 0));
  elsif arguments is null or jsonb_typeof(arguments) <> 'object' or octet_length(arguments::text) > 8192 then
    raise sqlstate 'PT400' using message = 'arguments must be a JSON object of at most 8192 bytes';
  elsif outcome is null or outcome not in ('succeeded', 'failed', 'cancelled') then
    raise sqlstate 'PT400' using message = 'outcome must be succeeded, failed or cancelled';
  elsif duration_ms < 0 then
    raise sqlstate 'PT400' using message = format('duration_ms must be at least 0, not %s', duration_ms);
  end if;
  perform private.hold_context(v_session.user_id);
  v_session := private.hold_open_session(session_id);

  if ordinal <> v_session.command_count + 1 then
    select * into v_known from public.command_history h where h.session_id = v_session.id and h.ordinal = record_command.ordinal;
    if found and (v_known.command, v_known.arguments, v_known.outcome) = (command, arguments, outcome) then
      return jsonb_build_object('ordinal', ordinal, 'duplicate', true);
    end if;
    raise sqlstate 'PT409' using message = format('ordinal: the next command of the session is number %s, not %s',
                                                  v_session.command_count + 1, ordinal),
      hint = 'Somebody else records in this session, or a command was recorded before. Read command_count, or leave ordinal out.';
  end if;
  update private.context_usage u
     set commands = case when u.commands_on = v_today then u.commands + 1 else 1 end, commands_on = v_today
   where u.user_id = v_session.user_id and (u.commands_on <> v_today or u.commands < v_most);
  if not found then
    perform private.refuse_command(v_most);
  end if;
  insert into public.command_history
    (session_id, ordinal, user_id, command, arguments, outcome, execution_id, duration_ms)
  values (v_session.id, v_session.command_count + 1, v_session.user_id, command, arguments, outcome,
          execution_id, duration_ms);
  update public.sessions s
     set command_count = s.command_count + 1, last_active_at = private.active_at(s.last_active_at)
   where s.id = v_session.id;
  return jsonb_build_object('ordinal', v_session.command_count + 1, 'duplicate', false);
end
$$;
comment on function public.record_command(uuid, text, jsonb, text, integer, uuid, integer) is
'Adds a command to a session of yours. With ordinal, the number it is to have, a repeated call is recognised.';

create or replace function public.save_context_snapshot(session_id uuid, content jsonb, version integer default null)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_most constant integer := 1000;
  v_session public.sessions := private.find_session(session_id);
  v_size bigint := octet_length(content::text);
  v_limit bigint;
  v_used bigint;
begin
  if content is null or jsonb_typeof(content) not in ('object', 'array') then
    raise sqlstate 'PT400' using message = format('content must be a JSON object or list, not %s', coalesce(jsonb_typeof(content), 'nothing'));
  end if;
  v_limit := private.hold_context(v_session.user_id);
  v_session := private.hold_open_session(session_id);

  if version <> v_session.context_version + 1 then
    if exists (select 1 from public.context_snapshots c
                where c.session_id = v_session.id and c.version = save_context_snapshot.version
                  and c.content = save_context_snapshot.content) then
      return version;
    end if;
    raise sqlstate 'PT409' using message = format('version: the next snapshot of the session is version %s, not %s',
                                                  v_session.context_version + 1, version),
      hint = 'Somebody else saved in between. Read the latest snapshot, and save what follows from it.';
  end if;
  select coalesce(sum(s.context_bytes), 0) into v_used from public.sessions s where s.user_id = v_session.user_id;
  if v_used + v_size > v_limit then
    raise sqlstate 'PT413' using
      message = format('content: %s bytes beside the %s that you keep are more than the %s of your tier',
                       v_size, v_used, v_limit),
      detail = jsonb_build_object('size', v_size, 'used', v_used, 'limit', v_limit)::text,
      hint = 'Nothing was stored. Make room with delete_context_snapshots or delete_session, or store less.';
  elsif (select count(*) from public.context_snapshots c where c.session_id = v_session.id) >= v_most then
    raise sqlstate 'PT413' using message = format('session_id: the session has %s snapshots, and that is the most', v_most),
      hint = 'Nothing was stored. Make room with delete_context_snapshots.';
  end if;
  insert into public.context_snapshots (session_id, version, user_id, size_bytes, content)
  values (v_session.id, v_session.context_version + 1, v_session.user_id, v_size, content);
  update public.sessions s
     set context_version = s.context_version + 1, context_bytes = s.context_bytes + v_size,
         last_active_at = private.active_at(s.last_active_at)
   where s.id = v_session.id;
  return v_session.context_version + 1;
end
$$;
comment on function public.save_context_snapshot(uuid, jsonb, integer) is
'Saves the context of a session of yours; answers its version. With version, the one it is to have, a repeated call is recognised and two writers do not overwrite each other. 413 over the limit of your tier.';

create or replace function public.get_context_snapshot(session_id uuid, version integer default null) returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_session public.sessions := private.find_session(session_id);
  v_snapshot public.context_snapshots;
begin
  select * into v_snapshot from public.context_snapshots c
   where c.session_id = v_session.id and (get_context_snapshot.version is null or c.version = get_context_snapshot.version)
   order by c.version desc limit 1;
  if not found then
    raise sqlstate 'PT404' using
      message = case when version is null then 'session_id: the session has no snapshot'
                     else format('version: the session has no snapshot %s', version) end,
      hint = 'List context_snapshots of the session to find its versions.';
  end if;
  return jsonb_build_object('session_id', v_snapshot.session_id, 'version', v_snapshot.version,
                            'size_bytes', v_snapshot.size_bytes, 'created_at', v_snapshot.created_at,
                            'content', v_snapshot.content);
end
$$;
comment on function public.get_context_snapshot(uuid, integer) is 'A snapshot of a session of yours; the latest when no version is named.';

create or replace function public.delete_context_snapshots(session_id uuid, keep integer) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_session public.sessions := private.find_session(session_id);
  v_deleted integer;
  v_freed bigint;
begin
  if keep is null or keep not between 0 and 1000 then
    raise sqlstate 'PT400' using message = format('keep must be an integer from 0 to 1000, not %s', coalesce(keep::text, 'null')),
      hint = 'It is how many of the latest snapshots stay.';
  end if;
  select * into v_session from public.sessions s where s.id = v_session.id for no key update;
  with gone as (
    delete from public.context_snapshots c
     where c.session_id = v_session.id
       and c.version not in (select k.version from public.context_snapshots k
                              where k.session_id = v_session.id order by k.version desc limit keep)
    returning c.size_bytes
  )
  select count(*), coalesce(sum(g.size_bytes), 0) into v_deleted, v_freed from gone g;
  update public.sessions s set context_bytes = s.context_bytes - v_freed where s.id = v_session.id;
  return jsonb_build_object('deleted', v_deleted, 'freed_bytes', v_freed);
end
$$;
comment on function public.delete_context_snapshots(uuid, integer) is
'Deletes the snapshots of a session of yours but for the latest so many, and frees their bytes.';

revoke execute on function private.find_session(uuid) from public;
revoke execute on function private.hold_context(uuid) from public;
revoke execute on function private.hold_open_session(uuid) from public;
revoke execute on function private.active_at(timestamptz) from public;
revoke execute on function private.refuse_command(integer) from public;
revoke execute on function public.record_command(uuid, text, jsonb, text, integer, uuid, integer)
from public, anon, authenticated, service_role;
grant execute on function public.record_command(uuid, text, jsonb, text, integer, uuid, integer)
to authenticated, service_role;
revoke execute on function public.save_context_snapshot(uuid, jsonb, integer)
from public, anon, authenticated, service_role;
grant execute on function public.save_context_snapshot(uuid, jsonb, integer) to authenticated, service_role;
revoke execute on function public.get_context_snapshot(uuid, integer) from public, anon, authenticated, service_role;
grant execute on function public.get_context_snapshot(uuid, integer) to authenticated, service_role;
revoke execute on function public.delete_context_snapshots(uuid, integer)
from public, anon, authenticated, service_role;
grant execute on function public.delete_context_snapshots(uuid, integer) to authenticated, service_role;

-- sql/functions/sessions.sql
-- Sessions: begun, closed and deleted by their user or a service, and pruned after the log retention of the tier.

create or replace function public.start_session(
  title text default null, metadata jsonb default '{}', session_id uuid default null, user_id uuid default null
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_most constant integer := 1000;
  v_user uuid := coalesce(user_id, auth.uid());
  v_session public.sessions;
begin
  if v_user is null and private.is_service() then
    raise sqlstate 'PT400' using message = 'user_id must name whose session it is, as nobody is signed in';
  elsif v_user is null then
    raise sqlstate 'PT401' using message = 'start_session acts for the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  elsif v_user is distinct from auth.uid() and not private.is_service() then
    raise sqlstate 'PT403' using message = 'user_id: you can start sessions of your own only', hint = 'Leave user_id out.';
  elsif length(title) not between 1 and 200 then
    raise sqlstate 'PT400' using message = format('title must be a text of 1 to 200 characters, not of %s', length(title));
  elsif metadata is null or jsonb_typeof(metadata) <> 'object' or octet_length(metadata::text) > 8192 then
    raise sqlstate 'PT400' using message = 'metadata must be a JSON object of at most 8192 bytes';
  end if;
  perform private.hold_context(v_user);

  select * into v_session from public.sessions s where s.id = start_session.session_id;
  if found and v_session.user_id <> v_user then
    raise sqlstate 'PT409' using message = 'session_id: this id is taken', hint = 'Choose a random uuid, or leave it out.';
  elsif not found then
    if (select count(*) from public.sessions s where s.user_id = v_user) >= v_most then
      raise sqlstate 'PT413' using message = format('you have %s sessions, and that is the most', v_most),
        hint = 'Delete some with delete_session.';
    end if;
    insert into public.sessions (id, user_id, title, metadata)
    values (coalesce(session_id, gen_random_uuid()), v_user, title, metadata)
    returning * into v_session;
  end if;
  return jsonb_build_object('session_id', v_session.id, 'state', v_session.state, 'created_at', v_session.created_at);
end
$$;
comment on function public.start_session(text, jsonb, uuid, uuid) is
'Starts a session of yours. With session_id, an id of your choice, a repeated call finds the session. A service names the user_id.';

create or replace function public.close_session(session_id uuid) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_session public.sessions := private.find_session(session_id);
begin
  update public.sessions s
     set state = 'closed', closed_at = clock_timestamp(), last_active_at = clock_timestamp()
   where s.id = v_session.id and s.state = 'active';
  select * into v_session from public.sessions s where s.id = v_session.id;
  return jsonb_build_object('session_id', v_session.id, 'state', v_session.state, 'closed_at', v_session.closed_at);
end
$$;
comment on function public.close_session(uuid) is
'Closes a session of yours: it takes no more commands and snapshots, and stays readable for the log retention of your tier.';

create or replace function public.delete_session(session_id uuid) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_batch constant integer := 20000;
  v_session public.sessions := private.find_session(session_id);
  v_commands integer;
begin
  select * into v_session from public.sessions s where s.id = v_session.id for update;
  delete from public.command_history h
   using (select c.ordinal, c.recorded_at from public.command_history c where c.session_id = v_session.id limit v_batch) c
   where h.session_id = v_session.id and h.ordinal = c.ordinal and h.recorded_at = c.recorded_at;
  get diagnostics v_commands = row_count;
  if v_commands < v_batch then
    delete from public.sessions s where s.id = v_session.id;
  end if;
  return jsonb_build_object('deleted', v_commands < v_batch, 'commands', v_commands,
                            'freed_bytes', case when v_commands < v_batch then v_session.context_bytes else 0 end);
end
$$;
comment on function public.delete_session(uuid) is
'Deletes a session of yours with its snapshots and commands. Call it again until deleted is true: 20,000 commands go in a call.';

create or replace function private.prune_sessions(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_from private.housekeeping_marks;
  v_seen record;
  v_pruned integer;
begin
  -- Sessions of tiers with a longer retention stand among those that are due: a walk through all that are past the
  -- shortest one, so many in a call, which begins again when it has reached the end.
  select * into v_from from private.housekeeping_marks m where m.step = 'prune_sessions';
  with seen as materialized (
    select s.id, s.user_id, s.last_active_at from public.sessions s
     where (s.last_active_at, s.id) > (coalesce(v_from.reached_at, '-infinity'),
                                       coalesce(v_from.reached_id, '00000000-0000-0000-0000-000000000000'))
       and s.last_active_at <= clock_timestamp() - (select make_interval(days => min(t.log_retention_days))
                                                      from public.subscription_tiers t)
     order by s.last_active_at, s.id
     limit most
  ),
  -- One that is being used right now is left to the next round.
  due as materialized (
    select s.id from public.sessions s
      join seen n on n.id = s.id and n.last_active_at = s.last_active_at
      join private.effective_limits l on l.user_id = s.user_id
     where s.last_active_at <= clock_timestamp() - make_interval(days => l.log_retention_days)
       for update of s skip locked
  ),
  gone as (
    delete from public.sessions s using due d where s.id = d.id returning s.id
  )
  select count(*) as n, (select count(*) from gone) as pruned,
         (array_agg(n.last_active_at order by n.last_active_at desc, n.id desc))[1] as reached_at,
         (array_agg(n.id order by n.last_active_at desc, n.id desc))[1] as reached_id
    into v_seen from seen n;
  delete from private.housekeeping_marks m where m.step = 'prune_sessions';
  if v_seen.n = most then
    insert into private.housekeeping_marks (step, reached_at, reached_id)
    values ('prune_sessions', v_seen.reached_at, v_seen.reached_id);
  end if;
  return v_seen.pruned;
end
$$;
comment on function private.prune_sessions(integer) is
'Removes sessions that were closed or idle for longer than their user''s log retention, with their snapshots. Looks at so many in a call.';

revoke execute on function public.start_session(text, jsonb, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.start_session(text, jsonb, uuid, uuid) to authenticated, service_role;
revoke execute on function public.close_session(uuid) from public, anon, authenticated, service_role;
grant execute on function public.close_session(uuid) to authenticated, service_role;
revoke execute on function public.delete_session(uuid) from public, anon, authenticated, service_role;
grant execute on function public.delete_session(uuid) to authenticated, service_role;
revoke execute on function private.prune_sessions(integer) from public;

-- sql/functions/settle.sql
-- Settling: the one place where an attempt ends, whatever ended it (finish, release, rescue).

create or replace function private.retry_delay(attempt integer, at_least_seconds numeric) returns interval
language sql
volatile
set search_path = ''
as $$
  -- Exponential with full jitter, and never sooner than the far side asked for.
  select make_interval(secs => greatest(
           coalesce(at_least_seconds, 0),
           random() * least(c.retry_cap_seconds, c.retry_base_seconds * power(2, least(greatest(attempt, 1), 20)))
         )::double precision)
    from public.load_balancer_config c
$$;
comment on function private.retry_delay(integer, numeric) is 'How long to wait before the next attempt.';

create or replace function private.settle_executions(results jsonb, only_expired boolean)
returns table (execution_id uuid, attempt integer, answer text, state text)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  -- Users first, in order of id: every verb that changes a running row holds the row of its user.
  perform 1 from private.user_queue u
    where u.user_id in (
            select q.user_id from public.flow_execution_queue q
             where q.id in (select (e.value ->> 'execution_id')::uuid from jsonb_array_elements(results) e(value)))
    order by u.user_id for update;
  -- Then the executions, in order of id: a heartbeat for the same batch takes them in the same order.
  perform 1 from public.flow_execution_queue q
    where q.id in (select (e.value ->> 'execution_id')::uuid from jsonb_array_elements(results) e(value))
    order by q.id for update;

  return query
  with items as materialized (
    select e.n, r.*, coalesce(r.error ->> 'category', case when r.outcome = 'failed' then 'unknown' end) as category
      from jsonb_array_elements(results) with ordinality e(value, n)
     cross join lateral jsonb_to_record(e.value) r(
       execution_id uuid, attempt integer, lease_token uuid, outcome text, result jsonb, error jsonb, retry boolean,
       retry_on text, retry_after_seconds numeric, spend_attempt boolean, user_error boolean, snooze_seconds numeric,
       usage jsonb, duration_ms numeric)
  ),
  -- The fence: only the attempt that holds the lease is ended. The same item twice in a batch counts once.
  held as materialized (
    select distinct on (q.id)
           q.*, i.n, i.outcome, i.result, i.error, i.category, coalesce(i.retry, true) as retry, i.retry_on,
           i.retry_after_seconds, coalesce(i.user_error, false) as user_error, i.snooze_seconds, i.usage, i.duration_ms,
           -- An attempt that did not run is given back, but not without end.
           coalesce(i.spend_attempt, true) or q.unspent_retries >= 50 as spends
      from items i
      join public.flow_execution_queue q
        on q.id = i.execution_id and q.attempt = i.attempt and q.lease_token = i.lease_token and q.state = 'running'
     where not only_expired or q.lease_expires_at <= clock_timestamp()
     order by q.id, i.n
  ),
  decided as materialized (
    select h.*,
           case
             when h.cancel_requested_at is not null then 'cancelled'
             when h.outcome = 'succeeded' then 'succeeded'
             when h.outcome = 'released' then 'available'
             when h.outcome = 'snoozed' then 'scheduled'
             when not h.retry and h.user_error then 'failed'
             when not h.retry or (h.spends and h.attempt >= h.max_attempts) then 'dead'
             when only_expired then 'available'
             else 'scheduled'
           end as next_state
      from held h
  ),
  logged as (
    insert into public.execution_logs
      (execution_id, attempt, user_id, tier, flow_id, flow_name, flow_kind, flow_version, outcome, is_final, category,
       error, input, result, usage, priority, instance_id, instance_name, processor_id, lease_token, origin_id,
       queued_at, started_at, duration_ms)
    select d.id, d.attempt, d.user_id, u.tier, d.flow_id, f.name, f.kind, d.flow_version,
           case when d.next_state in ('scheduled', 'available') then 'failed' else d.next_state end,
           d.next_state not in ('scheduled', 'available'), d.category,
           d.error, case when d.next_state not in ('scheduled', 'available') then d.input end, d.result, d.usage,
           d.priority, d.instance_id, i.name, d.processor_id, d.lease_token, d.origin_id,
           d.queued_at, d.started_at, d.duration_ms::integer
      from decided d
      join private.user_queue u on u.user_id = d.user_id
      join public.flows f on f.id = d.flow_id
      left join public.apps_script_instances i on i.id = d.instance_id
     -- One row per attempt; one that was given back untried is none.
     where d.next_state not in ('scheduled', 'available') or d.outcome = 'failed'
  ),
  died as (
    insert into public.dead_letters
      (execution_id, user_id, flow_id, flow_name, flow_version, input, attempts, category, first_error, last_error,
       origin_id, queued_at)
    select d.id, d.user_id, d.flow_id, f.name, d.flow_version, d.input, d.attempt, d.category,
           coalesce(d.first_error, d.error), d.error, d.origin_id, d.queued_at
      from decided d
      join public.flows f on f.id = d.flow_id
     where d.next_state = 'dead'
    on conflict do nothing
  ),
  ended as (
    delete from public.flow_execution_queue q
     using decided d
     where q.id = d.id and d.next_state not in ('scheduled', 'available')
  ),
  returned as (
    update public.flow_execution_queue q
       set state = d.next_state,
           attempt = case when d.outcome in ('released', 'snoozed') or not d.spends then q.attempt - 1 else q.attempt end,
           unspent_retries = q.unspent_retries + case when d.outcome = 'failed' and not d.spends then 1 else 0 end,
           run_at = case
                      when d.outcome = 'snoozed'
                        then clock_timestamp() + make_interval(secs => coalesce(d.snooze_seconds, 0)::double precision)
                      when d.next_state = 'scheduled'
                        then clock_timestamp() + private.retry_delay(q.attempt, d.retry_after_seconds)
                      else q.run_at
                    end,
           previous_lease_token = case when not only_expired then q.lease_token end,
           lease_token = null, lease_expires_at = null,
           instance_id = null, processor_id = null, started_at = null,
           -- Only the instance where it may have run can tell whether it did.
           pinned_instance_id = case when d.outcome = 'failed'
                                     then case when d.retry_on = 'same' then q.instance_id end
                                     else q.pinned_instance_id end,
           avoided_instance_id = case when d.outcome = 'failed' and d.retry_on in ('another', 'another_owner')
                                      then q.instance_id end,
           avoided_owner = case when d.outcome = 'failed' and d.retry_on = 'another_owner'
                                then (select i.owner from public.apps_script_instances i where i.id = q.instance_id) end,
           first_error = case when d.outcome = 'failed' then coalesce(q.first_error, d.error) else q.first_error end,
           last_error = case when d.outcome = 'failed' then d.error else q.last_error end
      from decided d
     where q.id = d.id and d.next_state in ('scheduled', 'available')
  ),
  freed as (
    -- One running less: the user's next execution can be claimed.
    update private.user_queue u
       set running = u.running - n.n, available = u.available + n.available
      from (select d.user_id, count(*)::integer as n,
                   (count(*) filter (where d.next_state = 'available'))::integer as available
              from decided d group by d.user_id) n
     where u.user_id = n.user_id
  )
  select i.execution_id, i.attempt,
         case
           when d.id is not null then 'accepted'
           -- The same token, ended before: the answer to a call that was repeated. One that was rescued is late instead.
           when exists (select 1 from public.execution_logs l
                         where l.execution_id = i.execution_id and l.lease_token = i.lease_token
                           and l.category is distinct from 'lease_expired'
                           and l.finished_at >= private.execution_id_time(i.execution_id) - interval '1 minute')
             or exists (select 1 from public.flow_execution_queue q
                         where q.id = i.execution_id and q.previous_lease_token = i.lease_token)
             then 'already_done'
           else 'lease_lost'
         end,
         d.next_state
    from items i
    left join decided d on d.id = i.execution_id and d.lease_token = i.lease_token
   order by i.n;
end
$$;
comment on function private.settle_executions(jsonb, boolean) is
'Ends attempts behind the fence (id, attempt, lease_token, running): history, dead letter, retry, and the user''s counters, in one statement.';

create or replace function private.check_results(results jsonb) returns void
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_bad record;
begin
  -- The API shows 1,000 rows of an answer (max-rows of a hosted project), and every item wants its answer.
  if results is null or jsonb_typeof(results) <> 'array' or jsonb_array_length(results) > 1000 then
    raise sqlstate 'PT400' using message = 'results must be a list of at most 1000 items',
      hint = 'Each is {"execution_id", "attempt", "lease_token", "outcome", ...}.';
  end if;
  select e.n - 1 as n, p.problem into v_bad
    from jsonb_array_elements(results) with ordinality e(value, n)
   cross join lateral (
     select case
       when jsonb_typeof(e.value) <> 'object' then 'must be an object'
       when coalesce(e.value ->> 'execution_id', '') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         then 'execution_id must be a uuid'
       when coalesce(e.value ->> 'lease_token', '') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
         then 'lease_token must be a uuid'
       when not private.is_integer_between(coalesce(e.value -> 'attempt', 'null'), 0, 1000000)
         then 'attempt must be an integer'
       when coalesce(e.value ->> 'outcome', '') not in ('succeeded', 'failed', 'released', 'snoozed')
         then 'outcome must be succeeded, failed, released or snoozed'
       when coalesce(e.value ->> 'retry_on', 'any') not in ('same', 'another', 'another_owner', 'any')
         then 'retry_on must be same, another, another_owner or any'
       when jsonb_typeof(coalesce(e.value -> 'error', '{}')) not in ('object', 'null')
         then 'error must be an object {"category", "code", "message", "step", "ran"}'
       when not private.is_number_between(e.value -> 'retry_after_seconds', 0, 2592000)
         then 'retry_after_seconds must be a number from 0 to 2592000'
       when not private.is_number_between(e.value -> 'snooze_seconds', 0, 31622400)
         then 'snooze_seconds must be a number from 0 to 31622400'
       when not private.is_number_between(e.value -> 'duration_ms', 0, 2147483647)
         then 'duration_ms must be a number from 0 to 2147483647'
       when exists (select 1 from unnest(array['retry', 'spend_attempt', 'user_error']) b(field)
                     where jsonb_typeof(coalesce(e.value -> b.field, 'null')) not in ('boolean', 'null'))
         then 'retry, spend_attempt and user_error must be true or false'
       when pg_column_size(e.value -> 'result') > 1048576
         then 'result is larger than 1 MB'
     end as problem) p
   where p.problem is not null
   order by e.n limit 1;
  if found then
    raise sqlstate 'PT400' using message = format('results[%s]: %s', v_bad.n, v_bad.problem),
      hint = 'Nothing was changed. Correct the item and send the batch again.';
  end if;
end
$$;
comment on function private.check_results(jsonb) is 'Refuses a malformed batch as a whole, naming the item and the field.';

create or replace function private.is_number_between(value jsonb, lowest numeric, highest numeric) returns boolean
language sql
immutable
set search_path = ''
as $$
  select case coalesce(jsonb_typeof(value), 'null')
           when 'null' then true
           when 'number' then value::numeric between lowest and highest
           else false end
$$;
comment on function private.is_number_between(jsonb, numeric, numeric) is 'Whether a JSON value is absent, null or a number in a range.';

create or replace function private.leases_as_results(leases jsonb, reason text) returns jsonb
language sql
immutable
set search_path = ''
as $$
  -- A lease is a result without an outcome; what is malformed stays so, for check_results to name it.
  select case when jsonb_typeof(leases) = 'array' then (
           select coalesce(jsonb_agg(
                    case when jsonb_typeof(l.value) = 'object'
                         then jsonb_build_object(
                                'execution_id', l.value -> 'execution_id', 'attempt', l.value -> 'attempt',
                                'lease_token', l.value -> 'lease_token', 'outcome', 'released',
                                'error', jsonb_build_object('category', 'released', 'message', left(reason, 200)))
                         else l.value end order by l.n), '[]')
             from jsonb_array_elements(leases) with ordinality l(value, n)) end
$$;
comment on function private.leases_as_results(jsonb, text) is 'Leases in the shape of results that release them.';

create or replace function public.finish_flow_executions(results jsonb)
returns table (execution_id uuid, attempt integer, answer text, state text)
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.check_results(results);
  return query select s.* from private.settle_executions(results, false) s;
end
$$;
comment on function public.finish_flow_executions(jsonb) is
'Ends a batch of attempts. Per item: accepted, already_done (a repeated call), or lease_lost. Service role only.';

create or replace function public.release_flow_executions(leases jsonb, reason text default null)
returns table (execution_id uuid, attempt integer, answer text, state text)
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_results jsonb := private.leases_as_results(leases, reason);
begin
  perform private.check_results(v_results);
  return query select s.* from private.settle_executions(v_results, false) s;
end
$$;
comment on function public.release_flow_executions(jsonb, text) is
'Gives leases back unused; the attempt is not spent. Service role only.';

create or replace function public.rescue_expired_executions(max integer default 500)
returns table (execution_id uuid, attempt integer, state text)
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_expired jsonb;
begin
  if max is null or max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', max);
  end if;
  select jsonb_agg(jsonb_build_object(
           'execution_id', e.id, 'attempt', e.attempt, 'lease_token', e.lease_token, 'outcome', 'failed',
           'retry_on', 'same', 'error', jsonb_build_object(
             'category', 'lease_expired', 'ran', 'unknown',
             'message', 'the processor ' || e.processor_id || ' stopped extending the lease')))
    into v_expired
    from (select q.id, q.attempt, q.lease_token, q.processor_id
            from public.flow_execution_queue q
           where q.state = 'running' and q.lease_expires_at <= clock_timestamp()
           order by q.lease_expires_at
           limit max) e;
  if v_expired is null then
    -- Every few seconds, and no other row is held here.
    perform private.end_overrides();
    return;
  end if;
  return query
    select s.execution_id, s.attempt, s.state
      from private.settle_executions(v_expired, true) s where s.answer = 'accepted';
  perform private.wake_workers();
end
$$;
comment on function public.rescue_expired_executions(integer) is
'Returns executions whose lease has run out to the queue, bound to the instance where they may have run. Service role only.';

revoke execute on function private.retry_delay(integer, numeric) from public;
revoke execute on function private.settle_executions(jsonb, boolean) from public;
revoke execute on function private.check_results(jsonb) from public;
revoke execute on function private.leases_as_results(jsonb, text) from public;
revoke execute on function private.is_number_between(jsonb, numeric, numeric) from public;
revoke execute on function public.finish_flow_executions(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.finish_flow_executions(jsonb) to service_role;
revoke execute on function public.release_flow_executions(jsonb, text) from public, anon, authenticated, service_role;
grant execute on function public.release_flow_executions(jsonb, text) to service_role;
revoke execute on function public.rescue_expired_executions(integer) from public, anon, authenticated, service_role;
grant execute on function public.rescue_expired_executions(integer) to service_role;

-- sql/functions/sign_ins.sql
-- Sign-ins: written by the access token hook, ended by their user or by staff.

create or replace function public.custom_access_token_hook(event jsonb) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_user uuid := (event ->> 'user_id')::uuid;
  v_session uuid := (event -> 'claims' ->> 'session_id')::uuid;
  v_profile public.user_profiles;
begin
  select * into v_profile from public.user_profiles p where p.user_id = v_user;
  if v_profile.deletion_requested_at is not null then
    return jsonb_build_object('error', jsonb_build_object('http_code', 403, 'message', 'This account is being deleted.'));
  end if;
  if v_session is not null and v_profile.user_id is not null then
    insert into public.user_sessions as s (id, user_id, method, device, address)
    select v_session, v_user, left(event ->> 'authentication_method', 60), left(a.user_agent, 400), a.ip
      from (values (1)) one
      left join auth.sessions a on a.id = v_session
    on conflict on constraint user_sessions_pkey do update
      set last_seen_at = clock_timestamp(), device = coalesce(excluded.device, s.device),
          address = coalesce(excluded.address, s.address)
    where s.ended_at is null;
    if not found then
      return jsonb_build_object('error', jsonb_build_object('http_code', 403, 'message', 'This sign-in was ended.'));
    end if;
    if event ->> 'authentication_method' is distinct from 'token_refresh' then
      -- The trail looks for the address in the request, of which Supabase Auth tells its session only.
      perform set_config('request.headers', jsonb_build_object('x-forwarded-for', host(a.ip))::text, true)
         from auth.sessions a where a.id = v_session;
      perform private.record_activity('session.started', v_user, 'session', v_session::text,
                                      jsonb_build_object('method', event ->> 'authentication_method'));
    end if;
  end if;
  -- For what a client shows. Quotas and permissions read the tables.
  return jsonb_build_object('claims', (event -> 'claims') || jsonb_build_object(
    'user_role', coalesce(v_profile.role, 'user'), 'user_tier', coalesce(v_profile.tier, 'free')));
end
$$;
comment on function public.custom_access_token_hook(jsonb) is
'Supabase Auth calls it for every access token: adds user_role and user_tier, keeps the list of sign-ins, refuses ended ones.';

create or replace function public.revoke_session(session_id uuid) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_user uuid;
begin
  select s.user_id into v_user from public.user_sessions s where s.id = revoke_session.session_id;
  if v_user is null or (v_user is distinct from auth.uid() and not public.has_permission('sessions.revoke')) then
    raise sqlstate 'PT404' using message = format('session_id: you have no sign-in %s', revoke_session.session_id),
      hint = 'List your sign-ins to find its id.';
  end if;
  if v_user is distinct from auth.uid() then
    perform private.begin_admin_action('sessions.revoke', v_user, null);
  end if;
  return jsonb_build_object('revoked', private.end_sessions(v_user, array[revoke_session.session_id]));
end
$$;
comment on function public.revoke_session(uuid) is
'Ends a sign-in: it gets no new access token; the one it has ends by itself. Somebody else''s needs sessions.revoke.';

create or replace function public.revoke_all_sessions(user_id uuid default null, keep_current boolean default true)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_user uuid := coalesce(revoke_all_sessions.user_id, auth.uid());
  v_current uuid := case when keep_current and v_user = auth.uid() then (auth.jwt() ->> 'session_id')::uuid end;
begin
  if v_user is null then
    raise sqlstate 'PT400' using message = 'user_id must name whose sign-ins end, as nobody is signed in';
  elsif v_user is distinct from auth.uid() then
    perform private.begin_admin_action('sessions.revoke', v_user, null);
  end if;
  return jsonb_build_object('revoked', private.end_sessions(
    v_user, array(select s.id from public.user_sessions s
                   where s.user_id = v_user and s.ended_at is null and s.id is distinct from v_current
                   order by s.id)));
end
$$;
comment on function public.revoke_all_sessions(uuid, boolean) is
'Ends all sign-ins of a user; your own but for the current one, unless told otherwise. Somebody else''s needs sessions.revoke.';

create or replace function private.end_sessions(user_id uuid, session_ids uuid[]) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_ended uuid[];
begin
  -- Supabase Auth's session first, as when it is refreshed: Auth locks it, and the hook then writes ours.
  perform 1 from auth.sessions a
    where a.id = any (session_ids) and a.user_id = end_sessions.user_id order by a.id for update;
  -- Refresh tokens go with it.
  delete from auth.sessions a where a.id = any (session_ids) and a.user_id = end_sessions.user_id;
  with ended as (
    update public.user_sessions s set ended_at = clock_timestamp(), end_reason = 'revoked'
     where s.id = any (session_ids) and s.user_id = end_sessions.user_id and s.ended_at is null
    returning s.id
  )
  select array_agg(e.id order by e.id) into v_ended from ended e;
  if v_ended is null then
    return 0;
  end if;
  perform private.record_activity('session.revoked', end_sessions.user_id, 'session',
                                  case when cardinality(v_ended) = 1 then v_ended[1]::text end,
                                  jsonb_build_object('sessions', cardinality(v_ended)));
  return cardinality(v_ended);
end
$$;
comment on function private.end_sessions(uuid, uuid[]) is 'Ends sign-ins of a user, here and in Supabase Auth.';

create or replace function private.end_sign_ins(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_ended integer;
begin
  -- Supabase Auth forgets a session when its user signs out. Each is looked at once a day, so the cost stays flat.
  with due as (
    select s.id from public.user_sessions s
     where s.ended_at is null and s.checked_at < clock_timestamp() - interval '1 day'
     order by s.checked_at
     limit most for update skip locked
  )
  update public.user_sessions s
     set checked_at = clock_timestamp(),
         ended_at = case when a.id is null then clock_timestamp() end,
         end_reason = case when a.id is null then 'signed_out' end
    from due d
    left join auth.sessions a on a.id = d.id
   where s.id = d.id;
  with old as (
    select s.id from public.user_sessions s
     where s.ended_at < clock_timestamp() - interval '90 days' limit most for update skip locked
  )
  delete from public.user_sessions s using old o where s.id = o.id;
  get diagnostics v_ended = row_count;
  return v_ended;
end
$$;
comment on function private.end_sign_ins(integer) is
'Notes which sign-ins Supabase Auth has ended, and forgets those that ended 90 days ago; how many were forgotten.';

revoke execute on function public.custom_access_token_hook(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.custom_access_token_hook(jsonb) to supabase_auth_admin;
grant usage on schema public to supabase_auth_admin;
revoke execute on function private.end_sessions(uuid, uuid[]) from public;
revoke execute on function private.end_sign_ins(integer) from public;
revoke execute on function public.revoke_session(uuid) from public, anon, authenticated, service_role;
grant execute on function public.revoke_session(uuid) to authenticated, service_role;
revoke execute on function public.revoke_all_sessions(uuid, boolean) from public, anon, authenticated, service_role;
grant execute on function public.revoke_all_sessions(uuid, boolean) to authenticated, service_role;

-- sql/functions/staff.sql
-- What administrative functions share: whose account it is, who may act on it, and why it was done.

create or replace function private.begin_admin_action(permission text, user_id uuid, reason text) returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_ranks constant text[] := array['user', 'support', 'admin', 'owner'];
  v_target text;
  v_own text;
begin
  perform private.require_permission(permission);
  select p.role into v_target from public.user_profiles p where p.user_id = begin_admin_action.user_id;
  if not found then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', begin_admin_action.user_id),
      hint = 'List the users to find the id.';
  end if;
  if not private.is_service() then
    select p.role into v_own from public.user_profiles p where p.user_id = auth.uid();
    if array_position(v_ranks, v_target) > array_position(v_ranks, v_own) then
      raise sqlstate 'PT403' using message = format('user_id: the user is %s, which is above your own role %s', v_target, v_own),
        hint = 'Ask an owner of this project.';
    end if;
  end if;
  if length(reason) > 500 then
    raise sqlstate 'PT400' using message = format('reason has %s characters; at most 500 are kept', length(reason));
  end if;
  -- The trail's trigger reads it from here.
  perform set_config('flowstate.reason', coalesce(reason, ''), true);
end
$$;
comment on function private.begin_admin_action(text, uuid, text) is
'The gate of every administrative function: permission, an existing user of no higher role, and the reason for the trail.';

create or replace function private.require_reason(reason text) returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
  if nullif(trim(reason), '') is null then
    raise sqlstate 'PT400' using message = 'reason must say why, in 1 to 500 characters',
      hint = 'It is kept in the trail, for example: ticket 4711.';
  end if;
end
$$;
comment on function private.require_reason(text) is 'Refuses an action on somebody''s account for which no reason is given.';

create or replace function private.user_state(profile public.user_profiles) returns text
language sql
immutable
set search_path = ''
as $$
  select case when profile.deletion_requested_at is not null then 'deleting'
              when profile.suspended_at is not null then 'suspended'
              else 'active' end
$$;
comment on function private.user_state(public.user_profiles) is 'active, suspended or deleting.';

create or replace function private.user_summary(user_id uuid) returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
  select jsonb_build_object(
           'user_id', p.user_id, 'email', a.email, 'display_name', p.display_name, 'tier', p.tier, 'role', p.role,
           'state', private.user_state(p), 'suspended_at', p.suspended_at, 'created_at', p.created_at,
           'last_sign_in_at', a.last_sign_in_at,
           'limits', jsonb_build_object(
             'hour_limit', e.hour_limit, 'day_limit', e.day_limit, 'month_limit', e.month_limit,
             'weight', e.weight, 'max_running', e.max_running),
           'override', (select to_jsonb(o) - 'user_id' from public.user_limit_overrides o
                         where o.user_id = p.user_id and o.ends_at > clock_timestamp()))
    from public.user_profiles p
    join auth.users a on a.id = p.user_id
    join private.effective_limits e on e.user_id = p.user_id
   where p.user_id = user_summary.user_id
$$;
comment on function private.user_summary(uuid) is 'A user as administrators see them: account, state, the limits that hold.';

create or replace function private.keep_an_owner() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if old.role <> 'owner' or private.user_state(old) <> 'active'
     or (tg_op = 'UPDATE' and new.role = 'owner' and private.user_state(new) = 'active') then
    return coalesce(new, old);
  end if;
  -- One at a time, so that two owners cannot remove each other at once.
  perform pg_advisory_xact_lock(7305151, 4);
  if not exists (select 1 from public.user_profiles p
                  where p.role = 'owner' and p.user_id <> old.user_id
                    and p.suspended_at is null and p.deletion_requested_at is null) then
    raise sqlstate 'PT409' using message = format('user_id: %s is the last owner of this project', old.user_id),
      hint = 'Make somebody else an owner first.';
  end if;
  return coalesce(new, old);
end
$$;
comment on function private.keep_an_owner() is 'Trigger: a project that has an owner keeps one.';

create or replace trigger keep_an_owner before update or delete on public.user_profiles
for each row execute function private.keep_an_owner();

revoke execute on function private.begin_admin_action(text, uuid, text) from public;
revoke execute on function private.require_reason(text) from public;
revoke execute on function private.user_state(public.user_profiles) from public;
revoke execute on function private.user_summary(uuid) from public;
revoke execute on function private.keep_an_owner() from public;

-- sql/functions/status.sql
-- Status: of one execution, for its owner; of the whole queue, for operators.

create or replace function public.get_flow_execution_status(execution_id uuid) returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_user uuid := auth.uid();
  v_status jsonb;
begin
  if v_user is null and coalesce(auth.role(), '') <> 'service_role' then
    raise sqlstate 'PT401' using message = 'get_flow_execution_status acts for the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token.';
  end if;
  select jsonb_build_object(
           'execution_id', q.id, 'flow_id', q.flow_id, 'user_id', q.user_id,
           'state', case when q.state = 'available' and u.running >= u.max_running then 'waiting' else q.state end,
           'attempt', q.attempt, 'max_attempts', q.max_attempts,
           -- Place among the user's own: counted up to 1,000, so that a long backlog costs no more.
           'position', case when q.state = 'available' then (
             select count(*) + 1
               from (select o.priority, o.run_at, o.id from public.flow_execution_queue o
                      where o.user_id = q.user_id and o.state = 'available'
                      order by o.priority desc, o.run_at, o.id
                      limit 1000) ahead
              where (-ahead.priority, ahead.run_at, ahead.id) < (-q.priority, q.run_at, q.id)) end,
           'run_at', q.run_at, 'queued_at', q.queued_at, 'started_at', q.started_at, 'finished_at', null,
           'estimated_start_at', case when q.state = 'scheduled' then q.run_at end,
           'result', null, 'error', q.last_error, 'cancel_requested', q.cancel_requested_at is not null)
    into v_status
    from public.flow_execution_queue q
    join private.user_queue u on u.user_id = q.user_id
   where q.id = get_flow_execution_status.execution_id and (v_user is null or q.user_id = v_user);
  if found then
    return v_status;
  end if;

  select jsonb_build_object(
           'execution_id', l.execution_id, 'flow_id', l.flow_id, 'user_id', l.user_id, 'state', l.outcome,
           'attempt', l.attempt, 'max_attempts', null, 'position', null, 'run_at', null, 'queued_at', l.queued_at,
           'started_at', l.started_at, 'finished_at', l.finished_at, 'estimated_start_at', null,
           'result', l.result, 'error', l.error, 'cancel_requested', false)
    into v_status
    from public.execution_logs l
   where l.execution_id = get_flow_execution_status.execution_id and l.is_final
     -- History is never older than the id: earlier partitions are not looked at.
     and l.finished_at >= private.execution_id_time(get_flow_execution_status.execution_id) - interval '1 minute'
     and (v_user is null or l.user_id = v_user);
  if not found then
    raise sqlstate 'PT404' using message = format('execution_id: no execution %s', get_flow_execution_status.execution_id),
      hint = 'Check the id; you can see your own executions only.';
  end if;
  return v_status;
end
$$;
comment on function public.get_flow_execution_status(uuid) is 'State, attempts, place in the queue and result of an execution of yours.';

create or replace function public.get_queue_status() returns jsonb
language sql
stable
security definer
set search_path = ''
as $$
  with live as materialized (
    select case when q.state = 'available' and u.running >= u.max_running then 'waiting' else q.state end as state,
           u.tier, count(*) as n, min(q.run_at) as oldest_run_at
      from public.flow_execution_queue q
      join private.user_queue u on u.user_id = q.user_id
     group by 1, 2
  ),
  in_flight as materialized (
    select q.instance_id, count(*) as n from public.flow_execution_queue q where q.state = 'running' group by 1
  )
  select jsonb_build_object(
    'states', (select coalesce(jsonb_object_agg(s.state, s.n), '{}')
                 from (select l.state, sum(l.n) as n from live l group by l.state) s),
    'tiers', (select coalesce(jsonb_object_agg(t.tier, t.states), '{}')
                from (select l.tier, jsonb_object_agg(l.state, l.n) as states from live l group by l.tier) t),
    'oldest_available_seconds', (select greatest(0, extract(epoch from clock_timestamp() - min(l.oldest_run_at)))::integer
                                   from live l where l.state in ('available', 'waiting')),
    'due_scheduled', (select count(*) from public.flow_execution_queue q
                       where q.state = 'scheduled' and q.run_at <= clock_timestamp()),
    'in_flight', (select coalesce(sum(f.n), 0) from in_flight f),
    'instances', (select coalesce(jsonb_agg(jsonb_build_object(
                           'name', i.name, 'owner', i.owner, 'state', i.state, 'breaker_state', i.breaker_state,
                           'in_flight', coalesce(f.n, 0), 'max_in_flight', i.max_in_flight) order by i.name), '[]')
                    from public.apps_script_instances i left join in_flight f on f.instance_id = i.id),
    'processors', (select coalesce(jsonb_agg(jsonb_build_object(
                            'id', p.id, 'host', p.host, 'version', p.version, 'in_flight', p.in_flight,
                            'draining', p.draining, 'last_heartbeat_at', p.last_heartbeat_at) order by p.id), '[]')
                     from public.queue_processors p
                    where p.last_heartbeat_at > clock_timestamp() - interval '5 minutes'),
    'dead_letters', (select count(*) from public.dead_letters d where d.replayed_at is null and d.discarded_at is null),
    'paused', (select c.paused_at is not null from public.load_balancer_config c))
$$;
comment on function public.get_queue_status() is 'The queue at a glance: states, tiers, instances, processors. Service role only.';

revoke execute on function public.get_flow_execution_status(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_flow_execution_status(uuid) to authenticated, service_role;
revoke execute on function public.get_queue_status() from public, anon, authenticated, service_role;
grant execute on function public.get_queue_status() to service_role;

-- sql/functions/support.sql
-- What support reads about users: through these functions only, each call with a reason and a line in the trail.

create or replace function public.list_users(
  search text default null, tier text default null, role text default null, state text default null,
  after uuid default null, max integer default 50
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.require_permission('users.read');
  if list_users.max is null or list_users.max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', list_users.max);
  elsif list_users.state is not null and list_users.state not in ('active', 'suspended', 'deleting') then
    raise sqlstate 'PT400' using message = 'state must be active, suspended or deleting';
  end if;
  if auth.uid() is not null then
    perform private.record_activity('user.listed', null, 'user', null, jsonb_build_object(
      'tier', list_users.tier, 'role', list_users.role, 'state', list_users.state,
      'searched', list_users.search is not null));
  end if;
  return (
    select coalesce(jsonb_agg(u.data order by u.user_id), '[]')
      from (
        select p.user_id, jsonb_build_object(
                 'user_id', p.user_id, 'email', a.email, 'display_name', p.display_name, 'tier', p.tier, 'role', p.role,
                 'state', private.user_state(p), 'override_ends_at', o.ends_at, 'created_at', p.created_at,
                 'last_sign_in_at', a.last_sign_in_at) as data
          from public.user_profiles p
          join auth.users a on a.id = p.user_id
          left join public.user_limit_overrides o on o.user_id = p.user_id and o.ends_at > clock_timestamp()
         where (list_users.search is null
                -- An id or an exact address: both are a look into an index.
                or p.user_id = any (array(
                     select u.id from auth.users u where u.email = lower(trim(list_users.search)) and not u.is_sso_user
                     union all
                     select u.id from auth.users u where u.id = case
                       when trim(list_users.search) ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                       then trim(list_users.search)::uuid end)))
           and (list_users.tier is null or p.tier = list_users.tier)
           and (list_users.role is null or p.role = list_users.role)
           and (list_users.state is null or private.user_state(p) = list_users.state)
           and (list_users.after is null or p.user_id > list_users.after)
         order by p.user_id
         limit list_users.max) u);
end
$$;
comment on function public.list_users(text, text, text, text, uuid, integer) is
'Users in order of id, page by page: after is the last id of the page before. search is an id or an exact e-mail address. Needs users.read.';

create or replace function private.begin_support_read(permission text, user_id uuid, reason text, what text)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.require_permission(permission);
  if not exists (select 1 from public.user_profiles p where p.user_id = begin_support_read.user_id) then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', begin_support_read.user_id),
      hint = 'List the users to find the id.';
  end if;
  if auth.uid() is not null then
    perform private.require_reason(reason);
    perform set_config('flowstate.reason', reason, true);
    perform private.record_activity('user.' || what, begin_support_read.user_id, 'user',
                                    begin_support_read.user_id::text, '{}');
  end if;
end
$$;
comment on function private.begin_support_read(text, uuid, text, text) is
'The gate of every look into an account: permission, reason, and a line in that user''s trail.';

create or replace function public.get_user(user_id uuid, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.begin_support_read('users.read', get_user.user_id, reason, 'read');
  return private.user_summary(get_user.user_id) || jsonb_build_object(
    'usage', private.usage_of(get_user.user_id),
    'queue', (select jsonb_build_object('scheduled', count(*) filter (where q.state = 'scheduled'),
                                        'available', count(*) filter (where q.state = 'available'),
                                        'running', count(*) filter (where q.state = 'running'))
                from public.flow_execution_queue q where q.user_id = get_user.user_id),
    'flows', (select count(*) from public.flows f where f.user_id = get_user.user_id),
    'dead_letters', (select count(*) from public.dead_letters d
                      where d.user_id = get_user.user_id and d.replayed_at is null and d.discarded_at is null));
end
$$;
comment on function public.get_user(uuid, text) is 'One user: account, limits, usage, queue. Needs users.read, and a reason from a person.';

create or replace function public.get_user_executions(
  user_id uuid, reason text default null, before timestamptz default null, max integer default 50
)
returns table (
  execution_id uuid, flow_id uuid, flow_name text, state text, attempt integer, category text, code text,
  instance_id uuid, queued_at timestamptz, started_at timestamptz, finished_at timestamptz, duration_ms integer
)
language plpgsql
security definer
set search_path = ''
-- As in list_my_executions: in the order of the index, whoever it is.
set enable_sort = off
as $$
#variable_conflict use_column
begin
  perform private.begin_support_read('executions.read', get_user_executions.user_id, reason, 'executions_read');
  if get_user_executions.max is null or get_user_executions.max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', get_user_executions.max);
  end if;
  -- No input, no result, no message: what a mailbox holds is not for support.
  return query
    (select q.id, q.flow_id, f.name, q.state, q.attempt, q.last_error ->> 'category', q.last_error ->> 'code',
            q.instance_id, q.queued_at, q.started_at, null::timestamptz, null::integer
       from public.flow_execution_queue q
       join public.flows f on f.id = q.flow_id
      where q.user_id = get_user_executions.user_id and get_user_executions.before is null
      order by q.queued_at desc
      limit get_user_executions.max)
    union all
    (select l.execution_id, l.flow_id, l.flow_name, l.outcome, l.attempt, l.category, l.error ->> 'code',
            l.instance_id, l.queued_at, l.started_at, l.finished_at, l.duration_ms
       from public.execution_logs l
      where l.user_id = get_user_executions.user_id
        and l.finished_at < coalesce(get_user_executions.before, 'infinity')
      order by l.finished_at desc
      limit get_user_executions.max)
    limit get_user_executions.max;
end
$$;
comment on function public.get_user_executions(uuid, text, timestamptz, integer) is
'Executions of a user without their content: live ones first, then past attempts, latest first; before is the last finished_at of the page before. Needs executions.read.';

create or replace function public.get_user_activity(
  user_id uuid, reason text default null, before timestamptz default null, max integer default 50
)
returns table (
  id uuid, occurred_at timestamptz, actor_id uuid, actor text, action text, object_type text, object_id text,
  details jsonb, address inet
)
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  perform private.begin_support_read('activity.read', get_user_activity.user_id, reason, 'activity_read');
  if get_user_activity.max is null or get_user_activity.max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', get_user_activity.max);
  end if;
  return query
    select l.id, l.occurred_at, l.actor_id, l.actor, l.action, l.object_type, l.object_id, l.details, l.address
      from public.user_activity_logs l
     where l.user_id = get_user_activity.user_id
       and l.occurred_at < coalesce(get_user_activity.before, 'infinity')
     order by l.occurred_at desc
     limit get_user_activity.max;
end
$$;
comment on function public.get_user_activity(uuid, text, timestamptz, integer) is
'The trail of a user, latest first; before is the last occurred_at of the page before. Needs activity.read.';

revoke execute on function private.begin_support_read(text, uuid, text, text) from public;
revoke execute on function public.list_users(text, text, text, text, uuid, integer)
from public, anon, authenticated, service_role;
grant execute on function public.list_users(text, text, text, text, uuid, integer) to authenticated, service_role;
revoke execute on function public.get_user(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.get_user(uuid, text) to authenticated, service_role;
revoke execute on function public.get_user_executions(uuid, text, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function public.get_user_executions(uuid, text, timestamptz, integer) to authenticated, service_role;
revoke execute on function public.get_user_activity(uuid, text, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function public.get_user_activity(uuid, text, timestamptz, integer) to authenticated, service_role;

-- sql/functions/tiers.sql
-- Tiers as rows: made, changed and removed while everything runs.

create or replace function public.set_tier(tier text, limits jsonb, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_before public.subscription_tiers;
  v_after public.subscription_tiers;
begin
  perform private.require_permission('tiers.set');
  if tier is null or tier !~ '^[a-z][a-z0-9_]{0,39}$' then
    raise sqlstate 'PT400' using message = 'tier must be a name of 1 to 40 lower-case letters, digits and underscores';
  elsif length(reason) > 500 then
    raise sqlstate 'PT400' using message = format('reason has %s characters; at most 500 are kept', length(reason));
  end if;
  perform private.check_limits(limits, private.override_ranges() || '{
    "log_retention_days": [1, 3650, false], "context_limit_bytes": [0, 1099511627776, false]}');
  perform set_config('flowstate.reason', coalesce(reason, ''), true);

  select * into v_before from public.subscription_tiers t where t.tier = set_tier.tier for update;
  if not found then
    -- What is not given for a new tier is what the least one has; without a limit nobody starts.
    select * into v_before from public.subscription_tiers t where t.tier = 'free';
    v_before.tier := tier;
    v_before.created_at := now();
  end if;
  v_after := jsonb_populate_record(v_before, limits);
  v_after.updated_at := now();
  if v_after.hour_limit > least(v_after.day_limit, v_after.month_limit) or v_after.day_limit > v_after.month_limit then
    raise sqlstate 'PT400' using message = format(
      'limits: %s per hour, %s per day and %s per month contradict each other',
      coalesce(v_after.hour_limit::text, 'unlimited'), coalesce(v_after.day_limit::text, 'unlimited'),
      coalesce(v_after.month_limit::text, 'unlimited')),
      hint = 'Nothing was changed. A shorter window cannot allow more than a longer one.';
  end if;
  insert into public.subscription_tiers select v_after.*
  on conflict on constraint subscription_tiers_pkey do update
    set hour_limit = excluded.hour_limit, day_limit = excluded.day_limit, month_limit = excluded.month_limit,
        weight = excluded.weight, max_running = excluded.max_running,
        log_retention_days = excluded.log_retention_days, context_limit_bytes = excluded.context_limit_bytes;
  return to_jsonb(v_after);
end
$$;
comment on function public.set_tier(text, jsonb, text) is
'Makes a tier or changes the given limits of one; it acts on the next call of its users. Needs tiers.set.';

create or replace function public.remove_tier(tier text, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_users bigint;
begin
  perform private.require_permission('tiers.set');
  if tier = 'free' then
    raise sqlstate 'PT409' using message = 'tier: free is what new users get; it stays',
      hint = 'Change its limits instead.';
  end if;
  perform 1 from public.subscription_tiers t where t.tier = remove_tier.tier for update;
  if not found then
    raise sqlstate 'PT404' using message = format('tier: there is no tier %s', coalesce(quote_literal(private.plain(tier, 40)), 'null'));
  end if;
  select count(*) into v_users from public.user_profiles p where p.tier = remove_tier.tier;
  if v_users > 0 then
    raise sqlstate 'PT409' using message = format('tier: %s is in use, users on it: %s', tier, v_users),
      hint = 'Nothing was changed. Move them to another tier first.';
  end if;
  perform set_config('flowstate.reason', coalesce(left(reason, 500), ''), true);
  delete from public.subscription_tiers t where t.tier = remove_tier.tier;
  return jsonb_build_object('tier', tier, 'removed', true);
end
$$;
comment on function public.remove_tier(text, text) is 'Removes a tier that nobody is on. Needs tiers.set.';

revoke execute on function public.set_tier(text, jsonb, text) from public, anon, authenticated, service_role;
grant execute on function public.set_tier(text, jsonb, text) to authenticated, service_role;
revoke execute on function public.remove_tier(text, text) from public, anon, authenticated, service_role;
grant execute on function public.remove_tier(text, text) to authenticated, service_role;

-- sql/functions/usage.sql
-- What a user has used of their limits, and what the tiers have.

create or replace function private.usage_of(user_id uuid) returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_limits private.effective_limits;
  v_queue private.user_queue;
  v_window record;
  v_deferred bigint;
  v_counted bigint;
  v_opens_at timestamptz;
  v_windows jsonb := '[]';
begin
  select * into v_limits from private.effective_limits e where e.user_id = usage_of.user_id;
  if not found then
    return null;
  end if;
  select * into v_queue from private.user_queue q where q.user_id = usage_of.user_id;
  v_deferred := private.count_since(usage_of.user_id, null, v_now, null, null);
  for v_window in
    select * from (values ('hour', v_limits.hour_limit, 3600, v_queue.hour_from, v_queue.hour_used),
                          ('day', v_limits.day_limit, 86400, v_queue.day_from, v_queue.day_used),
                          ('month', v_limits.month_limit, 2592000, v_queue.month_from, v_queue.month_used))
                  w(name, most, seconds, counted_from, counted)
  loop
    v_counted := private.count_since(usage_of.user_id, null, v_now - make_interval(secs => v_window.seconds),
                                     v_window.counted_from, v_window.counted);
    v_opens_at := null;
    if v_counted >= v_window.most then
      v_opens_at := private.opens_at(
        private.closed_spans(usage_of.user_id, null, v_now - make_interval(secs => v_window.seconds), v_counted,
                             v_window.most, v_window.seconds), v_now);
    end if;
    v_windows := v_windows || jsonb_build_object(
      'window', v_window.name, 'limit', v_window.most, 'used', v_counted - v_deferred,
      -- What is deferred takes room, too: there may be more now than this.
      'remaining', case when v_opens_at is not null then 0
                        when v_window.most is not null then greatest(v_window.most - v_counted, 1) end,
      'resets_at', v_opens_at);
  end loop;
  return jsonb_build_object(
    'tier', v_limits.tier, 'limits', v_windows,
    'running', coalesce(v_queue.running, 0), 'max_running', v_limits.max_running,
    'queued', (select count(*) from public.flow_execution_queue q
                where q.user_id = usage_of.user_id and q.state in ('scheduled', 'available')),
    'override_ends_at', v_limits.override_ends_at);
end
$$;
comment on function private.usage_of(uuid) is
'A user''s windows with limit, used, remaining and when the next place frees (null while there is one), and their queue.';

create or replace function public.get_my_usage() returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  if auth.uid() is null then
    raise sqlstate 'PT401' using message = 'get_my_usage answers the signed-in user, and nobody is signed in',
      hint = 'Call it with a user''s access token; get_user has the usage of others.';
  end if;
  return private.usage_of(auth.uid());
end
$$;
comment on function public.get_my_usage() is 'Your limits and what you have used of them, with your running and queued executions.';

create or replace function public.get_usage_by_tier()
returns table (
  tier text, users bigint, accepted_last_hour bigint, accepted_last_day bigint, running bigint, queued bigint
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := clock_timestamp();
begin
  perform private.require_permission('users.read');
  return query
  with accepted as (
    select p.tier, count(*) as last_day,
           count(*) filter (where t.accepted_at > v_now - interval '3600 seconds') as last_hour
      from public.rate_limit_tracking t
      join public.user_profiles p on p.user_id = t.user_id
     where t.accepted_at > v_now - interval '86400 seconds' and t.accepted_at <= v_now
     group by p.tier
  ),
  live as (
    select p.tier, count(*) filter (where q.state = 'running') as running,
           count(*) filter (where q.state <> 'running') as queued
      from public.flow_execution_queue q
      join public.user_profiles p on p.user_id = q.user_id
     group by p.tier
  )
  select t.tier, (select count(*) from public.user_profiles p where p.tier = t.tier),
         coalesce(a.last_hour, 0), coalesce(a.last_day, 0), coalesce(l.running, 0), coalesce(l.queued, 0)
    from public.subscription_tiers t
    left join accepted a on a.tier = t.tier
    left join live l on l.tier = t.tier
   order by t.weight, t.tier;
end
$$;
comment on function public.get_usage_by_tier() is
'Per tier: users, executions accepted in the last hour and day, running and queued. Needs users.read.';

revoke execute on function private.usage_of(uuid) from public;
revoke execute on function public.get_my_usage() from public, anon, authenticated, service_role;
grant execute on function public.get_my_usage() to authenticated, service_role;
revoke execute on function public.get_usage_by_tier() from public, anon, authenticated, service_role;
grant execute on function public.get_usage_by_tier() to authenticated, service_role;

-- sql/functions/user_admin.sql
-- What staff changes about a user: tier, role, exceptions, suspension. Each change acts on the next call of the user.

create or replace function public.set_user_tier(user_id uuid, tier text, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
begin
  perform private.begin_admin_action('users.set_tier', user_id, reason);
  if not exists (select 1 from public.subscription_tiers t where t.tier = set_user_tier.tier) then
    raise sqlstate 'PT400' using message = format('tier: there is no tier %s', coalesce(quote_literal(private.plain(tier, 40)), 'null')),
      hint = 'There are: ' || (select string_agg(t.tier, ', ' order by t.tier) from public.subscription_tiers t);
  end if;
  update public.user_profiles p set tier = set_user_tier.tier where p.user_id = set_user_tier.user_id;
  return private.user_summary(user_id);
end
$$;
comment on function public.set_user_tier(uuid, text, text) is 'Moves a user to a tier; it acts on the next call. Needs users.set_tier.';

create or replace function public.set_user_role(user_id uuid, role text, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
begin
  perform private.begin_admin_action('users.set_role', user_id, reason);
  if role is null or role not in ('user', 'support', 'admin', 'owner') then
    raise sqlstate 'PT400' using message = format('role must be user, support, admin or owner, not %s',
                                                  coalesce(quote_literal(private.plain(role, 40)), 'null'));
  end if;
  update public.user_profiles p set role = set_user_role.role where p.user_id = set_user_role.user_id;
  return private.user_summary(user_id);
end
$$;
comment on function public.set_user_role(uuid, text, text) is 'Gives a user a role. Needs users.set_role; a project keeps an owner.';

create or replace function private.check_limits(limits jsonb, allowed jsonb) returns void
language plpgsql
immutable
set search_path = ''
as $$
declare
  v_bad record;
begin
  if limits is null or jsonb_typeof(limits) <> 'object' or limits = '{}' then
    raise sqlstate 'PT400' using message = 'limits must be a JSON object with at least one limit',
      hint = 'For example {"hour_limit": 50, "day_limit": null}; null means unlimited.';
  end if;
  select l.key, l.value, allowed -> l.key as range into v_bad
    from jsonb_each(limits) l
   where not allowed ? l.key
      or case when l.value = 'null' then not (allowed -> l.key ->> 2)::boolean
              else not private.is_integer_between(
                     l.value, (allowed -> l.key ->> 0)::bigint, (allowed -> l.key ->> 1)::bigint) end
   order by l.key limit 1;
  if v_bad.range is not null then
    raise sqlstate 'PT400' using message = format(
      'limits.%s must be an integer from %s to %s%s, not %s', v_bad.key, v_bad.range ->> 0, v_bad.range ->> 1,
      case when (v_bad.range ->> 2)::boolean then ', or null for unlimited' else '' end, left(v_bad.value::text, 40)),
      hint = 'Nothing was changed.';
  elsif v_bad.key is not null then
    raise sqlstate 'PT400' using message = format('limits.%s is not a limit', private.plain(v_bad.key, 40)),
      hint = 'There are: ' || (select string_agg(k.key, ', ' order by k.key) from jsonb_object_keys(allowed) k(key));
  end if;
end
$$;
comment on function private.check_limits(jsonb, jsonb) is
'Refuses limits that are unknown or out of range. allowed: {"name": [lowest, highest, may be null]}.';

create or replace function private.override_ranges() returns jsonb
language sql
immutable
set search_path = ''
as $$
  select '{"hour_limit": [1, 1000000, true], "day_limit": [1, 10000000, true], "month_limit": [1, 100000000, true],
           "weight": [1, 1000, false], "max_running": [1, 1000, false]}'::jsonb
$$;
comment on function private.override_ranges() is 'Which limits one user may have an exception from, and their ranges.';

create or replace function public.set_user_override(user_id uuid, limits jsonb, ends_at timestamptz, reason text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
begin
  perform private.begin_admin_action('users.override', user_id, reason);
  perform private.require_reason(reason);
  perform private.check_limits(limits, private.override_ranges());
  if ends_at is null or not isfinite(ends_at) or ends_at <= clock_timestamp() then
    raise sqlstate 'PT400' using message = format('ends_at must be a moment in the future, not %s', coalesce(ends_at::text, 'null')),
      hint = 'Nothing was changed. An exception without an end is a tier.';
  elsif ends_at > clock_timestamp() + interval '3660 days' then
    raise sqlstate 'PT400' using message = 'ends_at must be at most ten years ahead', hint = 'Nothing was changed.';
  end if;
  insert into public.user_limit_overrides as o
    (user_id, hour_limit, day_limit, month_limit, weight, max_running, unlimited, reason, ends_at)
  select user_id, r.hour_limit, r.day_limit, r.month_limit, r.weight, r.max_running,
         array(select l.key from jsonb_each(limits) l where l.value = 'null' order by l.key), reason, ends_at
    from jsonb_to_record(limits)
         r(hour_limit integer, day_limit integer, month_limit integer, weight integer, max_running integer)
  on conflict on constraint user_limit_overrides_pkey do update
    set hour_limit = excluded.hour_limit, day_limit = excluded.day_limit, month_limit = excluded.month_limit,
        weight = excluded.weight, max_running = excluded.max_running, unlimited = excluded.unlimited,
        reason = excluded.reason, ends_at = excluded.ends_at, updated_at = now();
  return private.user_summary(user_id);
end
$$;
comment on function public.set_user_override(uuid, jsonb, timestamptz, text) is
'Makes an exception from the tier for one user until a moment; it replaces an earlier one. Needs users.override.';

create or replace function public.clear_user_override(user_id uuid, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.begin_admin_action('users.override', clear_user_override.user_id, reason);
  delete from public.user_limit_overrides o where o.user_id = clear_user_override.user_id;
  if not found then
    raise sqlstate 'PT404' using message = format('user_id: %s has no exception', clear_user_override.user_id);
  end if;
  return private.user_summary(clear_user_override.user_id);
end
$$;
comment on function public.clear_user_override(uuid, text) is 'Ends a user''s exception: the tier holds again. Needs users.override.';

create or replace function private.stop_running(user_id uuid) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_running integer;
begin
  -- The user first, then the executions in order, as everywhere.
  perform 1 from private.user_queue u where u.user_id = stop_running.user_id for update;
  perform 1 from public.flow_execution_queue q
    where q.user_id = stop_running.user_id and q.state = 'running' order by q.id for update;
  update public.flow_execution_queue q set cancel_requested_at = coalesce(q.cancel_requested_at, clock_timestamp())
   where q.user_id = stop_running.user_id and q.state = 'running';
  get diagnostics v_running = row_count;
  return v_running;
end
$$;
comment on function private.stop_running(uuid) is
'Asks for all running executions of a user to end: their processors hear of it with the next heartbeat.';

create or replace function public.suspend_user(user_id uuid, reason text) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_stopping integer;
begin
  perform private.begin_admin_action('users.suspend', suspend_user.user_id, reason);
  perform private.require_reason(reason);
  update public.user_profiles p set suspended_at = clock_timestamp()
   where p.user_id = suspend_user.user_id and p.suspended_at is null;
  v_stopping := private.stop_running(suspend_user.user_id);
  return private.user_summary(suspend_user.user_id) || jsonb_build_object('stopping', v_stopping);
end
$$;
comment on function public.suspend_user(uuid, text) is
'Nothing of the user is accepted or claimed from now on, and what runs is cancelled; queued executions wait. Data stays readable. Needs users.suspend.';

create or replace function public.resume_user(user_id uuid, reason text default null) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.begin_admin_action('users.suspend', resume_user.user_id, reason);
  if exists (select 1 from public.user_profiles p
              where p.user_id = resume_user.user_id and p.deletion_requested_at is not null) then
    raise sqlstate 'PT409' using message = format('user_id: %s is being deleted', resume_user.user_id);
  end if;
  update public.user_profiles p set suspended_at = null
   where p.user_id = resume_user.user_id and p.suspended_at is not null;
  perform private.wake_workers();
  return private.user_summary(resume_user.user_id);
end
$$;
comment on function public.resume_user(uuid, text) is 'Ends a suspension: what waited runs. Needs users.suspend.';

revoke execute on function private.check_limits(jsonb, jsonb) from public;
revoke execute on function private.override_ranges() from public;
revoke execute on function private.stop_running(uuid) from public;
revoke execute on function public.set_user_tier(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.set_user_tier(uuid, text, text) to authenticated, service_role;
revoke execute on function public.set_user_role(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.set_user_role(uuid, text, text) to authenticated, service_role;
revoke execute on function public.set_user_override(uuid, jsonb, timestamptz, text)
from public, anon, authenticated, service_role;
grant execute on function public.set_user_override(uuid, jsonb, timestamptz, text) to authenticated, service_role;
revoke execute on function public.clear_user_override(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.clear_user_override(uuid, text) to authenticated, service_role;
revoke execute on function public.suspend_user(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.suspend_user(uuid, text) to authenticated, service_role;
revoke execute on function public.resume_user(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.resume_user(uuid, text) to authenticated, service_role;

-- sql/functions/user_deletion.sql
-- Deletion: what runs is ended first, then the account goes, then its history, in bounded steps. Whichever door a user
-- is deleted through (Studio, the Auth API), nothing of them stays.

create or replace function private.note_erasure() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- The row of the user first, as everywhere: what is being settled is settled before the account goes.
  perform 1 from private.user_queue u where u.user_id = old.id for update;
  insert into private.erasures (user_id) values (old.id) on conflict do nothing;
  -- A digest, so that it can be told later whether a known id was deleted, and nothing else.
  perform private.record_activity('user.deleted', null, 'user', encode(sha256(convert_to(old.id::text, 'UTF8')), 'hex'), '{}');
  return old;
end
$$;
comment on function private.note_erasure() is 'Trigger: a deleted user''s history is to be erased, too.';

create or replace trigger note_erasure before delete on auth.users
for each row execute function private.note_erasure();

create or replace function private.erase_user(user_id uuid, most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_table text;
  v_rows integer;
  v_erased integer := 0;
begin
  -- History hangs on no account: every partitioned table with a user_id. The rest went with the account.
  for v_table in
    select c.relname from pg_catalog.pg_class c
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attname = 'user_id' and not a.attisdropped
     where c.relnamespace = 'public'::regnamespace and c.relkind = 'p' and c.relname <> 'user_activity_logs'
     order by c.relname
  loop
    execute format(
      'delete from public.%1$I t using (select o.tableoid, o.ctid from public.%1$I o where o.user_id = $1 limit $2) o
        where t.tableoid = o.tableoid and t.ctid = o.ctid', v_table)
      using erase_user.user_id, most - v_erased;
    get diagnostics v_rows = row_count;
    v_erased := v_erased + v_rows;
  end loop;
  -- The trail keeps that something was done and when, and loses who it was about. Its chain stands on what stays.
  update public.user_activity_logs l
     set user_id = null, actor_id = nullif(l.actor_id, erase_user.user_id), object_id = null, details = '{}',
         address = null, salt = null, erased_at = clock_timestamp()
    from (select o.id, o.occurred_at from public.user_activity_logs o
           where o.user_id = erase_user.user_id limit most - v_erased) o
   where l.id = o.id and l.occurred_at = o.occurred_at;
  get diagnostics v_rows = row_count;
  v_erased := v_erased + v_rows;
  if v_erased < most then
    delete from private.erasures e where e.user_id = erase_user.user_id;
  end if;
  return v_erased;
end
$$;
comment on function private.erase_user(uuid, integer) is
'Erases up to so many rows of the history of a user who is gone; the erasure is over when fewer were left.';

create or replace function private.erase_history(most integer) returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_user uuid;
  v_erased integer := 0;
begin
  while v_erased < most loop
    select e.user_id into v_user from private.erasures e order by e.requested_at limit 1 for update skip locked;
    exit when not found;
    v_erased := v_erased + private.erase_user(v_user, most - v_erased);
  end loop;
  return v_erased;
end
$$;
comment on function private.erase_history(integer) is 'Erases history of deleted users, the longest waiting first, in bounded steps.';

create or replace function private.finish_deletion() returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_user uuid;
begin
  -- Whoever asked for it may not have come back. One at a call, and never one whose row somebody holds.
  select p.user_id into v_user
    from public.user_profiles p
    left join private.user_queue u on u.user_id = p.user_id
   where p.deletion_requested_at is not null and coalesce(u.running, 0) = 0
   order by p.deletion_requested_at
   limit 1;
  if v_user is null then
    return 0;
  end if;
  perform 1 from private.user_queue u where u.user_id = v_user for update skip locked;
  if not found and exists (select 1 from private.user_queue u where u.user_id = v_user) then
    return 0;
  end if;
  delete from auth.users a where a.id = v_user;
  return 1;
end
$$;
comment on function private.finish_deletion() is
'Deletes the account of a user whose running calls have ended since the deletion was asked for; how many.';

create or replace function public.delete_user(user_id uuid, reason text) returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  v_batch constant integer := 10000;
  v_running integer;
  v_erased integer := 0;
begin
  perform private.require_permission('users.delete');
  -- A repeated call goes on where the last one stopped.
  if exists (select 1 from public.user_profiles p where p.user_id = delete_user.user_id) then
    perform private.begin_admin_action('users.delete', delete_user.user_id, reason);
    perform private.require_reason(reason);
    update public.user_profiles p set deletion_requested_at = clock_timestamp()
     where p.user_id = delete_user.user_id and p.deletion_requested_at is null;
    delete from auth.sessions a where a.user_id = delete_user.user_id;
    v_running := private.stop_running(delete_user.user_id);
    if v_running > 0 then
      return jsonb_build_object('state', 'ending', 'running', v_running, 'erased', 0);
    end if;
    delete from auth.users a where a.id = delete_user.user_id;
  elsif not exists (select 1 from private.erasures e where e.user_id = delete_user.user_id) then
    raise sqlstate 'PT404' using message = format('user_id: there is no user %s', delete_user.user_id),
      hint = 'A user who was deleted before is gone altogether.';
  end if;
  v_erased := private.erase_user(delete_user.user_id, v_batch);
  return jsonb_build_object('state', case when v_erased < v_batch then 'deleted' else 'erasing' end,
                            'running', 0, 'erased', v_erased);
end
$$;
comment on function public.delete_user(uuid, text) is
'Deletes a user for good. Call it again until state is deleted: ending waits for running calls, erasing goes on with the history. Export first. Needs users.delete.';

revoke execute on function private.note_erasure() from public;
revoke execute on function private.erase_user(uuid, integer) from public;
revoke execute on function private.erase_history(integer) from public;
revoke execute on function private.finish_deletion() from public;
revoke execute on function public.delete_user(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.delete_user(uuid, text) to authenticated, service_role;

-- sql/functions/user_export.sql
-- Export: everything that is kept about a user, page by page, for themselves or for staff before a deletion.

create or replace function private.export_datasets()
returns table (dataset text, relation text, keys text[], hidden text[])
language sql
immutable
set search_path = ''
as $$
  -- Keys order the pages; what is hidden says nothing about the user (fences, hashes). In the order of a reader.
  values ('profile', 'user_profiles', array['user_id'], '{}'::text[]),
         ('override', 'user_limit_overrides', array['user_id'], '{}'),
         ('sign_ins', 'user_sessions', array['created_at', 'id'], array['checked_at']),
         ('flows', 'flows', array['id'], '{}'),
         ('flow_versions', 'flow_versions', array['flow_id', 'version'], '{}'),
         ('schedules', 'flow_schedules', array['id'], '{}'),
         ('queue', 'flow_execution_queue', array['queued_at', 'id'],
          array['lease_token', 'previous_lease_token', 'lease_expires_at', 'processor_id']),
         ('executions', 'execution_logs', array['finished_at', 'execution_id', 'attempt'], array['lease_token', 'processor_id']),
         ('dead_letters', 'dead_letters', array['died_at', 'execution_id'], '{}'),
         ('acceptances', 'rate_limit_tracking', array['accepted_at', 'execution_id'], '{}'),
         ('errors', 'error_reports', array['last_seen_at', 'id'], '{}'),
         ('sessions', 'sessions', array['created_at', 'id'], '{}'),
         ('commands', 'command_history', array['recorded_at', 'session_id', 'ordinal'], '{}'),
         ('snapshots', 'context_snapshots', array['session_id', 'version'], '{}'),
         ('activity', 'user_activity_logs', array['occurred_at', 'id'],
          array['salt', 'content_hash', 'hash', 'chain_position', 'erased_at'])
$$;
comment on function private.export_datasets() is 'What belongs to a user: every public table with a user_id.';

create or replace function public.export_user_data(
  user_id uuid default null, dataset text default null, after jsonb default null, max integer default 500
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_user uuid := coalesce(user_id, auth.uid());
  v_set record;
  v_keys text;
  v_page jsonb;
  v_next jsonb;
begin
  if v_user is null then
    raise sqlstate 'PT400' using message = 'user_id must name whose data, as nobody is signed in';
  elsif v_user is distinct from auth.uid() then
    perform private.begin_admin_action('users.export', v_user, null);
  end if;
  if dataset is null then
    perform private.record_activity('user.exported', v_user, 'user', v_user::text, '{}');
    return jsonb_build_object(
      'user_id', v_user,
      'account', (select jsonb_build_object(
                           'email', a.email, 'phone', a.phone, 'user_metadata', a.raw_user_meta_data,
                           'created_at', a.created_at, 'last_sign_in_at', a.last_sign_in_at)
                    from auth.users a where a.id = v_user),
      'google', (select jsonb_build_object('status', t.status, 'scopes', t.scopes, 'connected_at', t.created_at)
                   from private.google_tokens t where t.user_id = v_user),
      'datasets', (select jsonb_agg(d.dataset) from private.export_datasets() d));
  end if;
  select * into v_set from private.export_datasets() d where d.dataset = export_user_data.dataset;
  if not found then
    raise sqlstate 'PT400' using message = format('dataset: there is none called %s', quote_literal(private.plain(dataset, 40))),
      hint = 'Without a dataset the answer lists them.';
  elsif max is null or max not between 1 and 1000 then
    raise sqlstate 'PT400' using message = format('max must be an integer from 1 to 1000, not %s', max);
  elsif after is not null and (jsonb_typeof(after) <> 'object' or not after ?& v_set.keys) then
    raise sqlstate 'PT400' using message = 'after must be the next of the page before, unchanged';
  end if;

  select string_agg(format('r.%I', k.key), ', ' order by k.n) into v_keys
    from unnest(v_set.keys) with ordinality k(key, n);
  begin
    execute format(
      'with page as materialized (
         select row_number() over (order by %2$s) as n, to_jsonb(r) as data
           from public.%1$I r
          where r.user_id = $1 and ($2 is null or (%2$s) > (select %3$s from jsonb_populate_record(null::public.%1$I, $2) a))
          order by %2$s limit $3)
       select coalesce(jsonb_agg(p.data - $4 order by p.n), ''[]''),
              case when count(*) = $3 then (array_agg(p.data order by p.n desc))[1] end
         from page p',
      v_set.relation, v_keys, replace(v_keys, 'r.', 'a.'))
      into v_page, v_next using v_user, after, max, v_set.hidden;
  exception
    when data_exception or invalid_text_representation then
      raise sqlstate 'PT400' using message = 'after must be the next of the page before, unchanged';
  end;
  if v_next is not null then
    select jsonb_object_agg(k.key, v_next -> k.key) into v_next from unnest(v_set.keys) k(key);
  end if;
  return jsonb_build_object('dataset', dataset, 'rows', v_page, 'next', v_next);
end
$$;
comment on function public.export_user_data(uuid, text, jsonb, integer) is
'Your data, page by page: without a dataset the account and the list of datasets, with one a page of rows and the next. Somebody else''s needs users.export.';

revoke execute on function private.export_datasets() from public;
revoke execute on function public.export_user_data(uuid, text, jsonb, integer)
from public, anon, authenticated, service_role;
grant execute on function public.export_user_data(uuid, text, jsonb, integer) to authenticated, service_role;

-- sql/functions/users.sql
-- Profiles follow auth.users; the queue's own row of a user follows the profile and the tier.

create or replace function private.create_user_profile() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into public.user_profiles (user_id) values (new.id) on conflict do nothing;
  return new;
end
$$;
comment on function private.create_user_profile() is 'Trigger: every auth user has a profile, on the free tier.';

create or replace trigger create_user_profile after insert on auth.users
for each row execute function private.create_user_profile();

create or replace function private.apply_profile_to_queue() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.refresh_queue_rows(array[new.user_id]);
  return null;
end
$$;
comment on function private.apply_profile_to_queue() is 'Trigger: a changed tier, suspension or deletion acts on the next claim.';

create or replace trigger apply_profile_to_queue after update of tier, suspended_at, deletion_requested_at
on public.user_profiles for each row execute function private.apply_profile_to_queue();

create or replace function private.apply_tier_to_queue() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- The rows of idle users are refreshed when they enqueue next.
  perform private.refresh_queue_rows(array(
    select q.user_id from private.user_queue q where q.tier = new.tier and (q.available > 0 or q.running > 0)));
  return null;
end
$$;
comment on function private.apply_tier_to_queue() is 'Trigger: changed tier limits act on the next claim of its active users.';

create or replace trigger apply_tier_to_queue after update of weight, max_running on public.subscription_tiers
for each row execute function private.apply_tier_to_queue();

revoke execute on function private.create_user_profile() from public;
revoke execute on function private.apply_profile_to_queue() from public;
revoke execute on function private.apply_tier_to_queue() from public;

-- sql/functions/wake_workers.sql
-- Wake-ups are Realtime broadcasts. A lost one costs a poll interval, so they may be throttled freely.

create or replace function private.wake_workers() returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- One broadcast per 20 ms: who finds the row taken or fresh leaves it to the one that has it.
  update private.wake_ups w
     set woken_at = clock_timestamp()
    from (select 1 from private.wake_ups
           where woken_at < clock_timestamp() - interval '20 milliseconds'
             for no key update skip locked) due
   where w.id;
  if found then
    perform realtime.send('{}'::jsonb, 'wake', 'flowstate:queue', true);
  end if;
end
$$;
comment on function private.wake_workers() is 'Tells workers that there is work; at most one broadcast per 20 ms.';

revoke execute on function private.wake_workers() from public;

-- sql/views/effective_limits.sql
-- What holds for a user now: the tier, but for an override that has not ended.
create or replace view private.effective_limits
with (security_invoker = true) as
select
    p.user_id,
    t.tier,
    case when 'hour_limit' = any(o.unlimited) then null else coalesce(o.hour_limit, t.hour_limit) end as hour_limit,
    case when 'day_limit' = any(o.unlimited) then null else coalesce(o.day_limit, t.day_limit) end as day_limit,
    case when 'month_limit' = any(o.unlimited) then null else coalesce(o.month_limit, t.month_limit) end as month_limit,
    coalesce(o.weight, t.weight) as weight,
    coalesce(o.max_running, t.max_running) as max_running,
    t.log_retention_days,
    t.context_limit_bytes,
    p.suspended_at is not null or p.deletion_requested_at is not null as suspended,
    o.ends_at as override_ends_at
from public.user_profiles as p
inner join public.subscription_tiers as t on p.tier = t.tier
left join public.user_limit_overrides as o on p.user_id = o.user_id and o.ends_at > clock_timestamp();
comment on view private.effective_limits is 'Limits per user as they hold at this moment. Every admission reads them here.';

revoke all on private.effective_limits from public, anon, authenticated, service_role;

-- sql/views/flow_executions.sql
-- Live and past executions as one list, for Studio and the API. Row security of the tables beneath applies.
create or replace view public.flow_executions
with (security_invoker = true) as
-- The last attempts are picked outside the union: a condition within would keep Postgres from reading the past in the
-- order of an index, and a page would cost as much as the whole history of its user.
select
    e.execution_id,
    e.user_id,
    e.flow_id,
    e.flow_name,
    e.state,
    e.attempt,
    e.priority,
    e.run_at,
    e.queued_at,
    e.started_at,
    e.finished_at,
    e.instance_id,
    e.error,
    e.result
from (
    select
        q.id as execution_id,
        q.user_id,
        q.flow_id,
        f.name as flow_name,
        q.state,
        q.attempt,
        q.priority,
        q.run_at,
        q.queued_at,
        q.started_at,
        null::timestamptz as finished_at,
        q.instance_id,
        q.last_error as error,
        null::jsonb as result,
        true as is_final
    from public.flow_execution_queue as q
    inner join public.flows as f on q.flow_id = f.id
    union all
    select
        l.execution_id,
        l.user_id,
        l.flow_id,
        l.flow_name,
        l.outcome as state,
        l.attempt,
        l.priority,
        null::timestamptz as run_at,
        l.queued_at,
        l.started_at,
        l.finished_at,
        l.instance_id,
        l.error,
        l.result,
        l.is_final
    from public.execution_logs as l
) as e
where e.is_final;
comment on view public.flow_executions is 'Every execution once: live ones from the queue, past ones from their last attempt.';

revoke all on public.flow_executions from public, anon, authenticated, service_role;
grant select on public.flow_executions to authenticated, service_role;

-- sql/indexes/flow_execution_queue.sql
-- The head of each user's own order: claims and positions.
create index if not exists flow_execution_queue_heads on public.flow_execution_queue
(user_id, priority desc, run_at, id) where state = 'available';
-- What becomes due.
create index if not exists flow_execution_queue_scheduled on public.flow_execution_queue
(run_at) where state = 'scheduled';
-- Calls in flight by instance; the leases are among them, so rescue reads it as well.
create index if not exists flow_execution_queue_running on public.flow_execution_queue
(instance_id) where state = 'running';
-- Foreign keys, and a user's or a flow's live executions.
create index if not exists flow_execution_queue_user on public.flow_execution_queue (user_id, queued_at desc);
create index if not exists flow_execution_queue_flow on public.flow_execution_queue (flow_id, flow_version);

-- sql/indexes/google_tokens.sql
-- What the refresher looks at next.
create index if not exists google_tokens_due on private.google_tokens
(next_refresh_at) where sealed_refresh_token is not null;

-- sql/indexes/history.sql
-- A user's latest executions; a flow's latest executions; the latest of the trail, of one account and of all.
create index if not exists execution_logs_user on public.execution_logs (user_id, finished_at desc);
create index if not exists execution_logs_flow on public.execution_logs (flow_id, finished_at desc);
create index if not exists dead_letters_user on public.dead_letters (user_id, died_at desc);
create index if not exists user_activity_logs_user on public.user_activity_logs (user_id, occurred_at desc);
create index if not exists user_activity_logs_time on public.user_activity_logs (occurred_at desc);
create index if not exists user_activity_logs_position on public.user_activity_logs (chain_position);
create index if not exists user_activity_logs_unchained on public.user_activity_logs
(occurred_at) where chain_position is null;
create index if not exists instance_health_status_instance on public.instance_health_status
(instance_id, checked_at desc);
create index if not exists performance_metrics_name on public.performance_metrics (name, recorded_at desc);
create index if not exists system_health_checks_component on public.system_health_checks (component, checked_at desc);
create index if not exists error_reports_user on public.error_reports (user_id, last_seen_at desc);
create index if not exists error_reports_fingerprint on public.error_reports (fingerprint);

-- sql/indexes/rate_limit_tracking.sql
-- Acceptances of flows that have limits of their own.
create index if not exists rate_limit_tracking_flow on public.rate_limit_tracking
(flow_id, accepted_at) where flow_id is not null;

-- sql/indexes/session_context.sql
-- A user's sessions: their list, and the sum of their bytes.
create index if not exists sessions_user on public.sessions (user_id, created_at desc);
-- What has been idle for long; last_active_at moves once a minute at most.
create index if not exists sessions_idle on public.sessions (last_active_at, id);
create index if not exists command_history_user on public.command_history (user_id, recorded_at desc);
create index if not exists context_snapshots_user on public.context_snapshots (user_id);

-- sql/indexes/user_queue.sql
-- Users who can be served, the least served first.
create index if not exists user_queue_claimable on private.user_queue
(virtual_time) where claimable;

-- sql/indexes/users_and_flows.sql
-- Foreign keys and the lists that users see.
create index if not exists user_profiles_tier on public.user_profiles (tier);
create index if not exists user_profiles_staff on public.user_profiles (role) where role <> 'user';
create index if not exists user_profiles_deleting on public.user_profiles
(deletion_requested_at) where deletion_requested_at is not null;
create index if not exists user_limit_overrides_end on public.user_limit_overrides (ends_at);
create index if not exists user_sessions_user on public.user_sessions (user_id, last_seen_at desc);
create index if not exists user_sessions_open on public.user_sessions (checked_at) where ended_at is null;
create index if not exists user_sessions_ended on public.user_sessions (ended_at) where ended_at is not null;
create index if not exists flow_versions_user on public.flow_versions (user_id);
create index if not exists flow_schedules_user on public.flow_schedules (user_id);
create index if not exists flow_schedules_flow on public.flow_schedules (flow_id);
create index if not exists flow_schedules_due on public.flow_schedules (next_run_at) where paused_at is null;
create index if not exists apps_script_instances_owner on public.apps_script_instances (owner);
create index if not exists idempotency_keys_created on private.idempotency_keys (created_at);

-- sql/policies/apps_script_instances.sql
-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.apps_script_instances enable row level security;
revoke all on public.apps_script_instances from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.apps_script_instances to service_role;

-- sql/policies/apps_script_owners.sql
-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.apps_script_owners enable row level security;
revoke all on public.apps_script_owners from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.apps_script_owners to service_role;

-- sql/policies/command_history.sql
-- Let in: a user, reading their own; the service role, reading. The functions of sessions write, so that limits are exact.
-- Denied: other users and anonymous callers; staff. Nobody writes directly, not even the service role.
alter table public.command_history enable row level security;
revoke all on public.command_history from public, anon, authenticated, service_role;
grant select on public.command_history to authenticated, service_role;

drop policy if exists "users read their own" on public.command_history;
create policy "users read their own" on public.command_history
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/context_snapshots.sql
-- Let in: a user, reading their own; the service role, reading. The functions of sessions write, so that limits are exact.
-- Denied: other users and anonymous callers; staff. Nobody writes directly, not even the service role.
alter table public.context_snapshots enable row level security;
revoke all on public.context_snapshots from public, anon, authenticated, service_role;
grant select on public.context_snapshots to authenticated, service_role;

drop policy if exists "users read their own" on public.context_snapshots;
create policy "users read their own" on public.context_snapshots
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/database.sql
-- Let in: nobody makes temporary objects through the API.
-- Denied: every API role, because types are looked up among temporary objects first, also where a function pins its
-- search_path to nothing: who makes them in a session could have our functions run theirs.
do $$
begin
  execute format('revoke temporary on database %I from public, anon, authenticated, service_role', current_database());
end
$$;

-- sql/policies/dead_letters.sql
-- Let in: a user, reading their own. The queue functions write; the service role may do all.
-- Denied: other users and anonymous callers; staff, who read through audited functions only.
alter table public.dead_letters enable row level security;
revoke all on public.dead_letters from public, anon, authenticated, service_role;
grant select on public.dead_letters to authenticated;
grant select, insert, update, delete on public.dead_letters to service_role;

drop policy if exists "users read their own" on public.dead_letters;
create policy "users read their own" on public.dead_letters
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/error_reports.sql
-- Let in: a user, reading reports about their own executions; the service role, with all verbs.
-- Denied: other users and anonymous callers; staff; reports about nobody are for the service role.
alter table public.error_reports enable row level security;
revoke all on public.error_reports from public, anon, authenticated, service_role;
grant select on public.error_reports to authenticated;
grant select, insert, update, delete on public.error_reports to service_role;

drop policy if exists "users read their own" on public.error_reports;
create policy "users read their own" on public.error_reports
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/execution_logs.sql
-- Let in: a user, reading their own history. The queue functions write it; the service role may do all.
-- Denied: other users and anonymous callers; staff, who read through audited functions only.
alter table public.execution_logs enable row level security;
revoke all on public.execution_logs from public, anon, authenticated, service_role;
grant select on public.execution_logs to authenticated;
grant select, insert, update, delete on public.execution_logs to service_role;

drop policy if exists "users read their own" on public.execution_logs;
create policy "users read their own" on public.execution_logs
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/flow_execution_queue.sql
-- Let in: a user, reading their own live executions. Every change goes through the queue functions.
-- Denied: other users and anonymous callers; staff, who read through audited functions only.
alter table public.flow_execution_queue enable row level security;
revoke all on public.flow_execution_queue from public, anon, authenticated, service_role;
grant select on public.flow_execution_queue to authenticated;
grant select, insert, update, delete on public.flow_execution_queue to service_role;

drop policy if exists "users read their own" on public.flow_execution_queue;
create policy "users read their own" on public.flow_execution_queue
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/flow_schedules.sql
-- Let in: a user, with all verbs on schedules of their own flows, in the columns granted below.
-- Denied: other users and anonymous callers; staff; a schedule of a flow that is another user's.
alter table public.flow_schedules enable row level security;
revoke all on public.flow_schedules from public, anon, authenticated, service_role;
grant select, delete on public.flow_schedules to authenticated;
grant insert (
    user_id, flow_id, kind, cron, interval_seconds, time_zone, input, catch_up, jitter_seconds, next_run_at, paused_at
) on public.flow_schedules to authenticated;
grant update (
    kind, cron, interval_seconds, time_zone, input, catch_up, jitter_seconds, next_run_at, paused_at
) on public.flow_schedules to authenticated;
grant select, insert, update, delete on public.flow_schedules to service_role;

drop policy if exists "users read their own" on public.flow_schedules;
create policy "users read their own" on public.flow_schedules
for select to authenticated using ((select auth.uid()) = user_id);
drop policy if exists "users insert their own" on public.flow_schedules;
create policy "users insert their own" on public.flow_schedules
for insert to authenticated with check (
    (select auth.uid()) = user_id and exists (
        select 1 from public.flows as f where f.id = flow_id and f.user_id = (select auth.uid())
    )
);
drop policy if exists "users update their own" on public.flow_schedules;
create policy "users update their own" on public.flow_schedules
for update to authenticated using ((select auth.uid()) = user_id) with check (
    (select auth.uid()) = user_id and exists (
        select 1 from public.flows as f where f.id = flow_id and f.user_id = (select auth.uid())
    )
);
drop policy if exists "users delete their own" on public.flow_schedules;
create policy "users delete their own" on public.flow_schedules
for delete to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/flow_versions.sql
-- Let in: a user, reading the versions of their own flows; the trigger on flows writes them.
-- Denied: other users and anonymous callers; staff; users who write.
alter table public.flow_versions enable row level security;
revoke all on public.flow_versions from public, anon, authenticated, service_role;
grant select on public.flow_versions to authenticated;
grant select, insert, update, delete on public.flow_versions to service_role;

drop policy if exists "users read their own" on public.flow_versions;
create policy "users read their own" on public.flow_versions
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/flows.sql
-- Let in: a user, with all verbs on their own flows. A trigger checks the definition.
-- Denied: other users and anonymous callers; staff; setting the version, or the owner of a flow that exists.
alter table public.flows enable row level security;
revoke all on public.flows from public, anon, authenticated, service_role;
grant select, delete on public.flows to authenticated;
grant insert (
    user_id, name, kind, definition, is_enabled, max_attempts, deadline_seconds,
    burst_limit, burst_seconds, hour_limit, day_limit
) on public.flows to authenticated;
grant update (
    name, kind, definition, is_enabled, max_attempts, deadline_seconds,
    burst_limit, burst_seconds, hour_limit, day_limit
) on public.flows to authenticated;
grant select, insert, update, delete on public.flows to service_role;

drop policy if exists "users read their own" on public.flows;
create policy "users read their own" on public.flows
for select to authenticated using ((select auth.uid()) = user_id);
drop policy if exists "users insert their own" on public.flows;
create policy "users insert their own" on public.flows
for insert to authenticated with check (
    (select auth.uid()) = user_id
);
drop policy if exists "users update their own" on public.flows;
create policy "users update their own" on public.flows
for update to authenticated using ((select auth.uid()) = user_id) with check (
    (select auth.uid()) = user_id
);
drop policy if exists "users delete their own" on public.flows;
create policy "users delete their own" on public.flows
for delete to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/google_tokens.sql
-- Let in: nobody. The functions of the tokens run as the owner of the schema.
-- Denied: every API role, the service too.
alter table private.google_tokens enable row level security;
revoke all on private.google_tokens from public, anon, authenticated, service_role;

-- sql/policies/instance_health_status.sql
-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.instance_health_status enable row level security;
revoke all on public.instance_health_status from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.instance_health_status to service_role;

-- sql/policies/load_balancer_config.sql
-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.load_balancer_config enable row level security;
revoke all on public.load_balancer_config from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.load_balancer_config to service_role;

-- sql/policies/performance_metrics.sql
-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.performance_metrics enable row level security;
revoke all on public.performance_metrics from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.performance_metrics to service_role;

-- sql/policies/private.sql
-- Let in: nobody. Our functions run as the owner of the schema.
-- Denied: every API role, to tables and views in private, and to partitions by their own names.
alter table private.user_queue enable row level security;
revoke all on private.user_queue from public, anon, authenticated, service_role;
alter table private.flow_windows enable row level security;
revoke all on private.flow_windows from public, anon, authenticated, service_role;
alter table private.queue_state enable row level security;
revoke all on private.queue_state from public, anon, authenticated, service_role;
alter table private.wake_ups enable row level security;
revoke all on private.wake_ups from public, anon, authenticated, service_role;
alter table private.idempotency_keys enable row level security;
revoke all on private.idempotency_keys from public, anon, authenticated, service_role;
alter table private.partition_policies enable row level security;
revoke all on private.partition_policies from public, anon, authenticated, service_role;
alter table private.erasures enable row level security;
revoke all on private.erasures from public, anon, authenticated, service_role;
alter table private.activity_chain enable row level security;
revoke all on private.activity_chain from public, anon, authenticated, service_role;
alter table private.history_rewrites enable row level security;
revoke all on private.history_rewrites from public, anon, authenticated, service_role;
alter table private.context_usage enable row level security;
revoke all on private.context_usage from public, anon, authenticated, service_role;
alter table private.housekeeping_marks enable row level security;
revoke all on private.housekeeping_marks from public, anon, authenticated, service_role;

-- Partitions are reached through their parents only.
revoke all on schema partitions from public, anon, authenticated, service_role;
revoke all on schema private from public, anon, authenticated, service_role;

alter table partitions.user_activity_logs_default enable row level security;
alter table partitions.instance_health_status_default enable row level security;
alter table partitions.rate_limit_tracking_default enable row level security;
alter table partitions.execution_logs_default enable row level security;
alter table partitions.performance_metrics_default enable row level security;
alter table partitions.command_history_default enable row level security;

-- sql/policies/queue_processors.sql
-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.queue_processors enable row level security;
revoke all on public.queue_processors from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.queue_processors to service_role;

-- sql/policies/rate_limit_tracking.sql
-- Let in: a user, reading their own acceptances; the service role, which may also remove some.
-- Denied: other users and anonymous callers; staff; adding any, to all: what admission has counted would not know
-- of them.
alter table public.rate_limit_tracking enable row level security;
revoke all on public.rate_limit_tracking from public, anon, authenticated, service_role;
grant select on public.rate_limit_tracking to authenticated;
grant select, update, delete on public.rate_limit_tracking to service_role;

drop policy if exists "users read their own" on public.rate_limit_tracking;
create policy "users read their own" on public.rate_limit_tracking
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/realtime_messages.sql
-- Let in: a user, hearing broadcasts on `user:<their id>`; those with the permission ops.listen, hearing `ops`.
-- Denied: every other topic, `flowstate:queue` included; presence; sending, to all but the service role.
drop policy if exists "users hear their own channel" on realtime.messages;
create policy "users hear their own channel" on realtime.messages
for select to authenticated using (
    (select realtime.topic()) = 'user:' || (select auth.uid())::text
    and extension = 'broadcast'
);
drop policy if exists "operators hear ops" on realtime.messages;
create policy "operators hear ops" on realtime.messages
for select to authenticated using (
    (select realtime.topic()) = 'ops'
    and extension = 'broadcast'
    and (select public.has_permission('ops.listen'))
);

-- sql/policies/role_permissions.sql
-- Let in: everyone who is signed in, and the service role, reading: a dashboard shows what it can offer.
-- Denied: anonymous callers; writing, to all: it changes by migration.
alter table public.role_permissions enable row level security;
revoke all on public.role_permissions from public, anon, authenticated, service_role;
grant select on public.role_permissions to authenticated, service_role;

drop policy if exists "everyone signed in reads them" on public.role_permissions;
create policy "everyone signed in reads them" on public.role_permissions
for select to authenticated using (true);

-- sql/policies/sessions.sql
-- Let in: a user, reading their own; the service role, reading. The functions of sessions write, so that limits are exact.
-- Denied: other users and anonymous callers; staff. Nobody writes directly, not even the service role.
alter table public.sessions enable row level security;
revoke all on public.sessions from public, anon, authenticated, service_role;
grant select on public.sessions to authenticated, service_role;

drop policy if exists "users read their own" on public.sessions;
create policy "users read their own" on public.sessions
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/subscription_tiers.sql
-- Let in: everyone who is signed in, reading what there is to have; the service role, with all verbs.
-- Denied: anonymous callers; users who write. Staff changes limits through set_tier().
alter table public.subscription_tiers enable row level security;
revoke all on public.subscription_tiers from public, anon, authenticated, service_role;
grant select on public.subscription_tiers to authenticated;
grant select, insert, update, delete on public.subscription_tiers to service_role;

drop policy if exists "users read all tiers" on public.subscription_tiers;
create policy "users read all tiers" on public.subscription_tiers
for select to authenticated using (true);

-- sql/policies/system_health_checks.sql
-- Let in: the service role, with all verbs.
-- Denied: every user, staff included; no policy lets anybody in.
alter table public.system_health_checks enable row level security;
revoke all on public.system_health_checks from public, anon, authenticated, service_role;
grant select, insert, update, delete on public.system_health_checks to service_role;

-- sql/policies/user_activity_logs.sql
-- Let in: a user, reading the trail of their own account; the service role, reading.
-- Denied: other users and anonymous callers; staff, who read through audited functions only; writing, to all, as
-- record_activity() does that.
alter table public.user_activity_logs enable row level security;
revoke all on public.user_activity_logs from public, anon, authenticated, service_role;
grant select on public.user_activity_logs to authenticated, service_role;

drop policy if exists "users read their own" on public.user_activity_logs;
create policy "users read their own" on public.user_activity_logs
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/user_limit_overrides.sql
-- Let in: a user, reading the exception that holds for them; the service role, with all verbs.
-- Denied: other users and anonymous callers; users who write. Staff makes exceptions through set_user_override().
alter table public.user_limit_overrides enable row level security;
revoke all on public.user_limit_overrides from public, anon, authenticated, service_role;
grant select on public.user_limit_overrides to authenticated;
grant select, insert, update, delete on public.user_limit_overrides to service_role;

drop policy if exists "users read their own" on public.user_limit_overrides;
create policy "users read their own" on public.user_limit_overrides
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/user_profiles.sql
-- Let in: a user, reading their own profile; the service role, with all verbs.
-- Denied: other users and anonymous callers; users who write. Staff changes tier and role through functions.
alter table public.user_profiles enable row level security;
revoke all on public.user_profiles from public, anon, authenticated, service_role;
grant select on public.user_profiles to authenticated;
grant select, insert, update, delete on public.user_profiles to service_role;

drop policy if exists "users read their own" on public.user_profiles;
create policy "users read their own" on public.user_profiles
for select to authenticated using ((select auth.uid()) = user_id);

-- sql/policies/user_sessions.sql
-- Let in: a user, reading their own sign-ins; the service role, reading.
-- Denied: other users and anonymous callers; staff; writing, to all: the access token hook and the revoke functions do.
alter table public.user_sessions enable row level security;
revoke all on public.user_sessions from public, anon, authenticated, service_role;
grant select on public.user_sessions to authenticated, service_role;

drop policy if exists "users read their own" on public.user_sessions;
create policy "users read their own" on public.user_sessions
for select to authenticated using ((select auth.uid()) = user_id);
