#!/usr/bin/env python3
"""Writes dashboards/*.json, a board a question. usage: deploy/grafana/make_dashboards.py [FOLDER]

Boards are described below; how Grafana wants them is in the functions above them. A test compares: after a change here,
run it again.
"""
import json
import pathlib
import sys

RUN = 'run=~"$run"'
ONE = 'run=~"$run",instance=~"$instance"'
SECONDS, BYTES, BYTES_S, SHARE, PLAIN, PER_S = "s", "bytes", "Bps", "percentunit", "none", "ops"


def panel(title, about, *queries, unit=PLAIN, kind="timeseries", width=8, height=8, stack=False, decimals=None, least=None,
          mappings=None):
    """A panel; each query is (expression, legend)."""
    defaults = {"unit": unit, "custom": {}} if kind == "timeseries" else {"unit": unit}
    if kind == "timeseries":
        defaults["custom"] = {"lineWidth": 2, "fillOpacity": 30 if stack else 5, "showPoints": "never", "spanNulls": True,
                              "stacking": {"mode": "normal" if stack else "none", "group": "A"}}
    if decimals is not None:
        defaults["decimals"] = decimals
    if least is not None:
        defaults["min"] = least
    if mappings:
        defaults["mappings"] = [{"type": "value", "options": mappings}]
    options = {"timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
               "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none",
                        "textMode": "name" if queries[0][1] in ("{{phase}}", "{{cause}}") else
                                    "value_and_name" if len(queries) > 1 or "{{" in queries[0][1] else "value"}}[kind]
    return {"title": title, "description": about, "type": kind, "width": width, "height": height,
            "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options,
            "targets": [{"expr": expr, "legendFormat": legend, "refId": chr(ord("A") + i),
                         "instant": kind == "stat", "range": kind != "stat"} for i, (expr, legend) in enumerate(queries)]}


def stat(title, about, expr, legend="", **more):
    return panel(title, about, (expr, legend), kind="stat", width=4, height=4, **more)


SOURCE = {"type": "prometheus", "uid": "${source}"}


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name},
            "definition": query, "refresh": 2, "includeAll": True, "allValue": ".*", "multi": True, "sort": 1,
            "current": {"text": "All", "value": "$__all"}}


def textbox(name, label, value):
    return {"name": name, "label": label, "type": "textbox", "query": value, "current": {"text": value, "value": value},
            "options": [{"text": value, "value": value, "selected": True}]}


def board(uid, title, about, panels, variables=()):
    x = y = row = 0
    out = []
    for number, item in enumerate(panels, 1):
        item = dict(item)
        width, height = item.pop("width"), item.pop("height")
        if x + width > 24:
            x, y, row = 0, y + row, 0
        out.append({"id": number, **item, "datasource": SOURCE,
                    "gridPos": {"x": x, "y": y, "w": width, "h": height}})
        x, row = x + width, max(row, height)
    return {
        "uid": uid, "title": title, "description": about, "tags": ["flowawr"], "editable": True, "schemaVersion": 38,
        "version": 1, "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
        "links": [{"title": "other boards", "type": "dashboards", "tags": ["flowawr"], "asDropdown": True,
                   "includeVars": True, "keepTime": True}],
        "annotations": {"list": [
            {"name": "rewards swapped", "datasource": SOURCE, "enable": True, "iconColor": "purple",
             "expr": f"changes(flowawr_learner_reward_spec_version{{{RUN}}}[1m]) > 0", "titleFormat": "rewards swapped"},
            {"name": "alerts", "datasource": SOURCE, "enable": True, "iconColor": "red",
             "expr": f'ALERTS{{alertname=~"Flowawr.*",alertstate="firing",{RUN}}}', "titleFormat": "{{alertname}}"}]},
        "templating": {"list": [
            {"name": "source", "label": "source", "type": "datasource", "query": "prometheus",
             "current": {"text": "Prometheus", "value": "prometheus"}},
            variable("run", "run", "label_values(flowawr_build_info, run)"),
            variable("instance", "process", f"label_values(flowawr_build_info{{{RUN}}}, instance)"), *variables]},
        "panels": out}


LEARNING = board(
    "flowawr-learning", "FlowAWR: is it learning?",
    "Whether the held-out reward rises, and what the updates look like.", [
        stat("phase", "What the run is doing. Paused: see the cause beside it.", f"flowawr_learner_phase{{{ONE}}} == 1", "{{phase}}"),
        stat("paused because of", "operator: by `flowawr pause`; disk: a file could not be written; attempts: a group failed too "
             "often. Empty while it goes on.", f"flowawr_learner_paused{{{ONE}}} == 1", "{{cause}}"),
        stat("updates done", "Over all resumes.", f"flowawr_learner_updates_total{{{ONE}}}", decimals=0),
        stat("updates planned", "After these the run is finished.", f"flowawr_learner_updates_planned{{{ONE}}}", decimals=0),
        stat("time left", "Estimate from the time of the updates done.", f"flowawr_learner_remaining_seconds{{{ONE}}}", unit=SECONDS),
        stat("held-out gain", "Held-out reward less that of the base model, in the reward's own unit.",
             f"flowawr_learner_heldout_reward{{{ONE}}} - flowawr_learner_heldout_base_reward{{{ONE}}}", decimals=3),
        panel("reward", "Should rise, the held-out one above all: it is measured on prompts that are never trained on, by the "
              "average policy. The trained one is of the last batch and noisy.",
              (f"flowawr_learner_heldout_reward{{{ONE}}}", "held out"), (f"flowawr_learner_reward{{{ONE}}}", "last batch"),
              (f"flowawr_learner_heldout_base_reward{{{ONE}}}", "base model"), width=12, height=9),
        panel("reward by scorer", "Of the last batch, shadows included.",
              (f"flowawr_learner_scorer_reward{{{ONE}}}", "{{scorer}}"), width=6, height=9),
        panel("held-out images exactly right", "By the first scorer's word, where it says such a thing, as the OCR does.",
              (f"flowawr_learner_heldout_exact_ratio{{{ONE}}}", "exact"), unit=SHARE, width=6, height=9, least=0),
        panel("loss", "Of the regression towards better images. Hovers; a rise without end is a policy that goes astray.",
              (f"flowawr_learner_loss{{{ONE}}}", "loss"), width=6),
        panel("distance from the base model", "Mean squared distance of velocities (KL). Grows slowly; fast growth with a falling "
              "held-out reward: raise kl_beta of the algorithm's section or lower the learning rate.", (f"flowawr_learner_kl{{{ONE}}}", "kl"), width=6),
        panel("gradient norm", "Before clipping. Spikes: single groups with extreme energies.",
              (f"flowawr_learner_gradient_norm{{{ONE}}}", "norm"), width=6),
        panel("groups that teach nothing", "All their rewards are equal. Near 100%: prompts too easy or too hard, or a reward too "
              "coarse.", (f"flowawr_learner_equal_groups_ratio{{{ONE}}}", "equal"), unit=SHARE, width=6, least=0),
        panel("updates", "A minute; skipped ones changed nothing, as all their groups taught nothing.",
              (f"60 * rate(flowawr_learner_updates_total{{{ONE}}}[$__rate_interval])", "done a minute"),
              (f"60 * rate(flowawr_learner_updates_skipped_total{{{ONE}}}[$__rate_interval])", "skipped a minute"), width=8),
        panel("energies", "The weights of the regression: about 0 on average, symmetric; at algorithm.flow_awr.energy_clip they are cut.",
              (f"flowawr_learner_energy{{{ONE}}}", "{{figure}}"), width=8),
        panel("what a crash would lose", "Since the newest checkpoint.",
              (f"flowawr_learner_checkpoint_age_seconds{{{ONE}}}", "checkpoint"),
              (f"flowawr_learner_update_age_seconds{{{ONE}}}", "update"), unit=SECONDS, width=8),
    ])

SPEED = board(
    "flowawr-speed", "FlowAWR: why is it slow?",
    "Where the time of the learner, of the actors and of the rewards goes.", [
        stat("images drawn", "By all actors, a second.", f"run:flowawr_images_drawn:rate5m{{{RUN}}}", unit=PER_S),
        stat("images trained on", "A second.", f"run:flowawr_images_trained:rate5m{{{RUN}}}", unit=PER_S),
        stat("an update takes", "On average over the run.", f"instance:flowawr_learner_update_seconds:mean{{{ONE}}}", unit=SECONDS),
        stat("actors", "Heard of lately.", f"flowawr_learner_actors{{{ONE}}}", decimals=0),
        stat("samplers idle", "Share of the actors' time in which their samplers wait: much means that the learner or the "
             "rewards are the slow part.", f"avg(instance:flowawr_actor_idle:ratio5m{{{RUN}}})", unit=SHARE),
        stat("open leases", "Groups that are being made.", f"flowawr_learner_open_leases{{{ONE}}}", decimals=0),
        panel("learner: share of time by stage", "wait: for actors. train: the gradient. Much wait: more actors, or faster "
              "rewards. Much train: more train.threads.",
              (f"run_stage:flowawr_learner_stage_seconds:ratio5m{{{RUN}}}", "{{stage}}"), unit=SHARE, stack=True, width=12, least=0),
        panel("actors: seconds a second by stage", "Stages work side by side, and scoring in several threads, so that the sum "
              "is above 1 for each actor.",
              (f"sum by (stage) (rate(flowawr_actor_stage_seconds_total{{{RUN}}}[$__rate_interval]))", "{{stage}}"), unit=PLAIN, stack=True,
              width=12, least=0),
        panel("idle share by actor", "Of its sampler. One that is never idle among others that are is the slow one.",
              (f"instance:flowawr_actor_idle:ratio5m{{{ONE}}}", "{{instance}}"), unit=SHARE, least=0),
        panel("images by actor", "A second, over the last minute, as the learner sees it.",
              (f"flowawr_learner_actor_images_per_second{{{RUN}}}", "{{actor}}"), unit=PER_S, least=0),
        panel("groups of the next batch", "How many are in. A batch that stays nearly full waits for one slow group.",
              (f"flowawr_learner_batch_groups{{{ONE}}}", "in"), (f"flowawr_learner_batch_size_groups{{{ONE}}}", "wanted"), least=0),
        panel("what waits in actors", "Groups before a stage. score: rewards are slower than sampling.",
              (f"sum by (stage) (flowawr_actor_queue_groups{{{ONE}}})", "{{stage}}"), least=0),
        panel("a scorer's call", "Half are faster than the first line, 95% than the second.",
              (f"histogram_quantile(0.5, sum by (scorer, le) (rate(flowawr_scoring_seconds_bucket{{{RUN}}}[5m])))", "{{scorer}} 50%"),
              (f"histogram_quantile(0.95, sum by (scorer, le) (rate(flowawr_scoring_seconds_bucket{{{RUN}}}[5m])))", "{{scorer}} 95%"),
              unit=SECONDS, least=0),
        panel("cores in use", "By kind of process.", (f"run_process:process_cpu_seconds:rate5m{{{RUN}}}", "{{process}}"), unit=PLAIN,
              stack=True, least=0),
        panel("bytes received by servers", "By method: groups come in by SubmitGroup, images by Score.",
              (f'sum by (method) (rate(flowawr_rpc_received_bytes_total{{{RUN},side="server"}}[$__rate_interval]))', "{{method}}"), unit=BYTES_S, least=0),
        panel("bytes sent by servers", "By method: policy versions go out by FetchPolicy.",
              (f'sum by (method) (rate(flowawr_rpc_sent_bytes_total{{{RUN},side="server"}}[$__rate_interval]))', "{{method}}"), unit=BYTES_S, least=0),
        panel("rows by rank", "A second, of the last update: the slowest rank holds up the others. Empty for a learner alone.",
              (f"flowawr_learner_rank_rows_per_second{{{ONE}}}", "{{rank}}"), unit=PER_S, least=0),
        panel("retries", "A second. score: reward servers that are busy or away; submit: a learner that is away.",
              (f"sum by (what) (rate(flowawr_actor_retries_total{{{RUN}}}[$__rate_interval]))", "{{what}}"), unit=PER_S, least=0),
    ])

HACKING = board(
    "flowawr-hacking", "FlowAWR: is the policy hacking the reward?",
    "Signs that the reward rises while the pictures get no better. Look at the newest pictures, too: figures see what they were made to see.", [
        stat("trained less held-out", "Reward of the last batch less the held-out one. Growing: what is learnt holds for the "
             "training prompts only.", f"flowawr_learner_reward{{{ONE}}} - flowawr_learner_heldout_reward{{{ONE}}}", decimals=3),
        stat("held-out gain", "Over the base model.",
             f"flowawr_learner_heldout_reward{{{ONE}}} - flowawr_learner_heldout_base_reward{{{ONE}}}", decimals=3),
        stat("reward spec", "Version; grows with every swap. Rewards before and after one cannot be compared.",
             f"flowawr_learner_reward_spec_version{{{ONE}}}", decimals=0),
        stat("samples at the clip", "Share of energies that are cut: much means rewards with outliers.",
             f"flowawr_learner_energy_clipped_ratio{{{ONE}}}", unit=SHARE),
        stat("reward weights", "Weight 0 is a shadow: scored, not trained on.", f"flowawr_learner_reward_weight{{{ONE}}}", "{{scorer}}"),
        panel("trained and held-out reward", "Together is well. The held-out one turning down while the trained one rises is the "
              "sign: FlowawrRewardHacking fires then.",
              (f"flowawr_learner_reward{{{ONE}}}", "last batch"), (f"flowawr_learner_heldout_reward{{{ONE}}}", "held out"), width=12, height=9),
        panel("each scorer on held-out prompts", "One that falls while the one with the weight rises pays for it. Add shadows "
              "(weight 0) to have more witnesses.", (f"flowawr_learner_heldout_scorer_reward{{{ONE}}}", "{{scorer}}"), width=12, height=9),
        panel("does a shadow agree?", "Spearman's rank correlation, within groups, of a shadow with what is trained on. Falling: they "
              "part ways.", (f"flowawr_learner_shadow_rank_correlation{{{ONE}}}", "{{scorer}}")),
        panel("would a shadow choose another image?", "Share of groups whose best image is another one for the shadow.",
              (f"flowawr_learner_shadow_best_differs{{{ONE}}}", "{{scorer}}"), unit=SHARE, least=0),
        panel("distance from the base model", "Hacks live far from the base model. Raise kl_beta of the algorithm's section to stay nearer.",
              (f"flowawr_learner_kl{{{ONE}}}", "kl")),
        panel("energies at the clip", "Share of the samples.", (f"flowawr_learner_energy_clipped_ratio{{{ONE}}}", "at the clip"), unit=SHARE, least=0),
        panel("groups that teach nothing", "A policy that always draws the same thing gets the same reward.",
              (f"flowawr_learner_equal_groups_ratio{{{ONE}}}", "equal"), unit=SHARE, least=0),
        panel("reward by scorer, last batch", "Shadows included.", (f"flowawr_learner_scorer_reward{{{ONE}}}", "{{scorer}}")),
    ])

FLEET = board(
    "flowawr-fleet", "FlowAWR: who is stale?",
    "Actors, what they hold, what was lost and why.", [
        stat("actors", "Heard of within ten seconds.", f"flowawr_learner_actors{{{ONE}}}", decimals=0),
        stat("lost in the last hour", "Not heard of any more, or begun anew without having left.",
             f"increase(flowawr_learner_actors_lost_total{{{ONE}}}[1h])", decimals=0),
        stat("most stale group", "Versions behind, of the last batch.", f"flowawr_learner_staleness_max_versions{{{ONE}}}", decimals=0),
        stat("allowed", "rollout.max_staleness; 0: strictly in step.", f"flowawr_learner_staleness_limit_versions{{{ONE}}}", decimals=0),
        stat("groups dropped in the last hour", "For whatever cause.", f"sum(increase(flowawr_learner_groups_dropped_total{{{ONE}}}[1h]))", decimals=0),
        stat("processes that answer", "Of those that Prometheus knows.", f'sum(up{{job=~".*flowawr.*",{RUN}}})', decimals=0),
        panel("versions behind", "Published versions since the one that the actor adopted last. One that stays behind has trouble "
              "fetching or binding it.", (f"flowawr_learner_actor_version_lag{{{RUN}}}", "{{actor}}"), width=8, least=0),
        panel("staleness of the batches", "How far behind the groups were that were trained on.",
              (f"flowawr_learner_staleness_mean_versions{{{ONE}}}", "mean"), (f"flowawr_learner_staleness_max_versions{{{ONE}}}", "most"),
              (f"flowawr_learner_staleness_limit_versions{{{ONE}}}", "allowed"), width=8, least=0),
        panel("seconds since heard of", "Above ten an actor counts as lost.",
              (f"flowawr_learner_actor_silence_seconds{{{RUN}}}", "{{actor}}"), unit=SECONDS, width=8, least=0),
        panel("leases held", "By actor.", (f"flowawr_learner_actor_held_leases{{{RUN}}}", "{{actor}}"), stack=True, least=0),
        panel("actors coming and going", "In the last five minutes.",
              (f"increase(flowawr_learner_actors_joined_total{{{ONE}}}[5m])", "joined"),
              (f"increase(flowawr_learner_actors_left_total{{{ONE}}}[5m])", "left"),
              (f"increase(flowawr_learner_actors_lost_total{{{ONE}}}[5m])", "lost"), least=0),
        panel("groups dropped by cause", "In the last five minutes, as the learner counts them. stale, swapped and duplicate belong "
              "to the work; the others are failures.",
              (f"sum by (cause) (increase(flowawr_learner_groups_dropped_total{{{ONE}}}[5m]))", "{{cause}}"), least=0),
        panel("groups lost by cause", "In the last five minutes, as the actors count them.",
              (f"sum by (cause) (increase(flowawr_actor_lost_groups_total{{{RUN}}}[5m]))", "{{cause}}"), least=0),
        panel("versions adopted", "By actor, and the newest that it was told of.",
              (f"flowawr_actor_adopted_version{{{ONE}}}", "{{instance}}"), (f"max(flowawr_actor_announced_version{{{ONE}}})", "announced")),
        panel("where adapters came from", "In the last five minutes: the learner, or a peer, another actor. With --peer-listen at all actors the learner sends ten of a version.",
              (f"sum by (source) (increase(flowawr_learner_policy_fetches_total{{{ONE}}}[5m]))", "{{source}}"), least=0),
        panel("fetches from actors that failed", "In the last five minutes. wrong_bytes: a broken machine or a hostile one; the log of the actor that counts it names the address.",
              (f"sum by (cause) (increase(flowawr_actor_policy_peer_failures_total{{{RUN}}}[5m]))", "{{cause}}"), least=0),
        panel("registrations", "More than one an actor: the learner was lost and found.",
              (f"flowawr_actor_sessions_total{{{ONE}}}", "{{instance}}"), least=0),
        panel("reward servers left alone", "1: the actor's circuit breaker is not closed.",
              (f'1 - flowawr_actor_reward_breaker{{{ONE},state="closed"}}', "{{instance}} {{endpoint}}"), least=0),
        panel("ranks of the learner", "By state: ready, joining (not there yet), lost. Empty for a learner alone.",
              (f"sum by (state) (flowawr_learner_rank_state{{{ONE}}})", "{{state}}"), stack=True, least=0),
        panel("ranks lost", "In the last five minutes, by rank, and for how many ranks the update waits.",
              (f"increase(flowawr_learner_rank_losses_total{{{ONE}}}[5m])", "{{rank}} lost"),
              (f"flowawr_learner_awaited_ranks{{{ONE}}}", "awaited"), least=0),
        panel("calls that failed", "A second, as clients see them, by gRPC's code. CANCELLED and DEADLINE_EXCEEDED of watches and waits are ordinary.",
              (f'sum by (code) (rate(flowawr_rpc_calls_total{{{RUN},side="client",code!="OK"}}[$__rate_interval]))', "{{code}}"), unit=PER_S, least=0),
        panel("calls refused at the door", "In the last five minutes: tokens, roles, or meant for another run.",
              (f"sum by (reason) (increase(flowawr_rpc_rejected_calls_total{{{RUN}}}[5m]))", "{{reason}}"), least=0),
    ])

COST = board(
    "flowawr-cost", "FlowAWR: what does the fleet cost per image?",
    "Processor time, memory, bytes and judges' fees for each image that is trained on. Set the price of a core hour above.", [
        stat("core seconds an image", "Of all processes together, for an image that is trained on.",
             f"run:flowawr_cpu_seconds_per_image:ratio5m{{{RUN}}}", unit=SECONDS),
        stat("1,000 images cost", "At the price of a core hour above; judges' fees apart.",
             f"run:flowawr_cpu_seconds_per_image:ratio5m{{{RUN}}} / 3600 * 1000 * $core_hour", decimals=4),
        stat("images trained on", "So far.", f"flowawr_learner_samples_trained_total{{{ONE}}}", decimals=0),
        stat("groups for nothing", "Share of the groups that actors made or began and the learner did not take.",
             f"sum(flowawr_actor_lost_groups_total{{{RUN}}}) / (sum(flowawr_actor_lost_groups_total{{{RUN}}}) + sum(flowawr_actor_groups_total{{{RUN}}}))", unit=SHARE),
        stat("memory", "Of all processes.", f"sum(process_resident_memory_bytes{{{RUN}}} and on (job, instance, run) flowawr_build_info)", unit=BYTES),
        stat("room for the run", "On the file system of its folder.", f"flowawr_learner_run_directory_free_bytes{{{ONE}}}", unit=BYTES),
        panel("core seconds an image", "Falls when actors are idle less and the learner waits less.",
              (f"run:flowawr_cpu_seconds_per_image:ratio5m{{{RUN}}}", "core seconds"), unit=SECONDS, least=0),
        panel("cores in use", "By kind of process.", (f"run_process:process_cpu_seconds:rate5m{{{RUN}}}", "{{process}}"), stack=True, least=0),
        panel("memory by process", "That it really occupies.",
              (f"process_resident_memory_bytes{{{ONE}}} and on (job, instance, run) flowawr_build_info", "{{instance}}"), unit=BYTES, stack=True, least=0),
        panel("bytes an image", "Received by the learner and reward servers for an image that is trained on.",
              (f'sum by (run) (rate(flowawr_rpc_received_bytes_total{{{RUN},side="server"}}[5m])) / (run:flowawr_images_trained:rate5m{{{RUN}}} > 0)', "bytes"),
              unit=BYTES, least=0),
        panel("what scorers use", "A judge's requests, tokens and cost, a second. Empty without a judge.",
              (f"sum by (scorer, what) (rate(flowawr_scorer_used_total{{{RUN}}}[$__rate_interval]))", "{{scorer}} {{what}}"), least=0),
        panel("memory of GPUs", "Taken from each by each process; what tensors occupy of it is flowawr_device_memory_allocated_bytes. Empty on CPUs.",
              (f"flowawr_device_memory_reserved_bytes{{{ONE}}}", "{{instance}} {{device}}"), unit=BYTES, stack=True, least=0),
        panel("GPUs at work", "Share of the time in which anything computes on them, as the driver sees it. Empty on CPUs.",
              (f"flowawr_device_utilization_ratio{{{ONE}}}", "{{instance}} {{device}}"), unit=SHARE, least=0),
        panel("bytes to and from GPUs", "What processes copy: up, weights, noise, embeddings, rows; down, latents, pictures, gradients, scores. Empty on CPUs.",
              (f"rate(flowawr_device_transfer_bytes_total{{{ONE}}}[$__rate_interval])", "{{instance}} {{device}} {{direction}}"), unit=BYTES_S, least=0),
        panel("GPUs held down", "1: their clocks are lower than they could be, and why; power_cap is ordinary under full load. Empty on CPUs.",
              (f"flowawr_device_throttled{{{ONE}}}", "{{instance}} {{device}} {{reason}}"), least=0),
        panel("power of GPUs", "Watts; each card as often as processes use it. Empty on CPUs.",
              (f"flowawr_device_power_watts{{{ONE}}}", "{{instance}} {{device}}"), unit="watt", least=0),
        panel("memory of scorers", "Of their weights.", (f"flowawr_scorer_memory_bytes{{{RUN}}}", "{{instance}} {{scorer}}"), unit=BYTES, least=0),
        panel("open files and connections", "By process; at the limit nobody can connect.",
              (f"process_open_fds{{{ONE}}} and on (job, instance, run) flowawr_build_info", "{{instance}}"), least=0),
        panel("certificates expire in", "By process. Empty without TLS.",
              (f"flowawr_tls_certificate_expiry_timestamp_seconds{{{ONE}}} - time()", "{{instance}}"), unit=SECONDS),
        panel("free room", "On the file system of the run's folder.", (f"flowawr_learner_run_directory_free_bytes{{{ONE}}}", "free"), unit=BYTES, least=0),
    ], [textbox("core_hour", "price of a core hour", "0.05")])

REWARDS = board(
    "flowawr-rewards", "FlowAWR: do the rewards keep up?",
    "Reward servers: what waits, how long scoring takes, what failed.", [
        stat("images scored", "A second.", f'sum(rate(flowawr_scored_images_total{{{ONE},outcome="reward"}}[5m]))', unit=PER_S),
        stat("failures", "Share of the images that got an error instead of a reward.",
             f'sum(rate(flowawr_scored_images_total{{{ONE},outcome!="reward"}}[5m])) / sum(rate(flowawr_scored_images_total{{{ONE}}}[5m]))', unit=SHARE),
        stat("scorers", "Loaded, on all servers.", f"count(flowawr_scorer_healthy{{{ONE}}})", decimals=0),
        stat("stuck", "Scorers with a call that does not return.", f"sum(1 - flowawr_scorer_healthy{{{ONE}}})", decimals=0),
        stat("requests in memory", "Bytes of requests and answers.", f"sum(flowawr_pending_request_bytes{{{ONE}}})", unit=BYTES),
        stat("loaded again", "Scorers that a server had lost and the learner loaded again, in the last hour.",
             f"sum(increase(flowawr_learner_scorers_loaded_again_total{{{RUN}}}[1h]))", decimals=0),
        panel("images waiting", "By scorer; at the limit the rest is answered with overloaded, and comes again later.",
              (f"flowawr_scorer_queue_images{{{ONE}}}", "{{scorer}}"), (f"flowawr_scorer_queue_limit_images{{{ONE}}}", "{{scorer}} limit"), least=0),
        panel("images by outcome", "A second.",
              (f"sum by (scorer, outcome) (rate(flowawr_scored_images_total{{{ONE}}}[$__rate_interval]))", "{{scorer}} {{outcome}}"), unit=PER_S, stack=True, least=0),
        panel("images a call", "How many a scorer is given at once, on average. Few while many wait: --max-batch is small.",
              (f"sum by (scorer) (rate(flowawr_scoring_batch_images_sum{{{ONE}}}[5m])) / sum by (scorer) (rate(flowawr_scoring_batch_images_count{{{ONE}}}[5m]))", "{{scorer}}"), least=0),
        panel("a request, from coming to answer", "50% and 95%.",
              (f"histogram_quantile(0.5, sum by (scorer, le) (rate(flowawr_score_request_seconds_bucket{{{ONE}}}[5m])))", "{{scorer}} 50%"),
              (f"histogram_quantile(0.95, sum by (scorer, le) (rate(flowawr_score_request_seconds_bucket{{{ONE}}}[5m])))", "{{scorer}} 95%"), unit=SECONDS, least=0),
        panel("waiting for the scorer", "50% and 95% of the images.",
              (f"histogram_quantile(0.5, sum by (scorer, le) (rate(flowawr_scorer_wait_seconds_bucket{{{ONE}}}[5m])))", "{{scorer}} 50%"),
              (f"histogram_quantile(0.95, sum by (scorer, le) (rate(flowawr_scorer_wait_seconds_bucket{{{ONE}}}[5m])))", "{{scorer}} 95%"), unit=SECONDS, least=0),
        panel("calls under way, as actors see them", "By reward server.",
              (f"sum by (endpoint) (flowawr_actor_reward_calls{{{RUN}}})", "{{endpoint}}"), least=0),
    ])

BOARDS = [LEARNING, SPEED, HACKING, FLEET, COST, REWARDS]


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    for dashboard in BOARDS:
        (folder / f"{dashboard['uid']}.json").write_text(json.dumps(dashboard, indent=1) + "\n")


if __name__ == "__main__":
    main()
