#!/usr/bin/env python3
"""Writes dashboards/*.json, a board a question. usage: deploy/grafana/make_dashboards.py [FOLDER]

Boards are described below; how Grafana wants them is in the functions above them. A test compares: after a change here,
run it again.
"""
import json
import pathlib
import sys

SECONDS, BYTES, BYTES_S, SHARE, PLAIN, PER_S = "s", "bytes", "Bps", "percentunit", "none", "ops"
# What RUN and ONE in a query's braces stand for: all processes of the chosen runs, and the chosen ones among them.
RUN, ONE = 'run=~"$run"', 'run=~"$run",instance=~"$instance"'
# Why a panel may have nothing to show.
NO_DEVICE, NO_CARD, ONE_LEARNER = "nothing computes on a GPU", "no NVIDIA card in use", "a learner alone, without ranks"


def chosen(expr):
    return expr.replace("RUN", RUN).replace("ONE", ONE)


def panel(title, about, *queries, unit=PLAIN, kind="timeseries", width=8, height=8, stack=False, decimals=None,
          least=None, empty=None):
    """A panel; each query is (expression, legend). `empty` is shown while there is nothing to show."""
    defaults = {"unit": unit}
    if kind == "timeseries":
        defaults["custom"] = {"lineWidth": 2, "fillOpacity": 30 if stack else 5, "showPoints": "never",
                              "spanNulls": True, "stacking": {"mode": "normal" if stack else "none", "group": "A"}}
    if decimals is not None:
        defaults["decimals"] = decimals
        if kind == "timeseries" and decimals == 0:
            defaults["custom"]["axisSoftMax"] = 1  # else a count that stays 0 has an axis up to 100
    if least is not None:
        defaults["min"] = least
    if empty is not None:
        defaults["noValue"] = empty
    options = {"timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
               "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "none",
                        "textMode": "name" if queries[0][1] in ("{{phase}}", "{{cause}}") else
                                    "value_and_name" if len(queries) > 1 or "{{" in queries[0][1] else "value"}}[kind]
    targets = [{"expr": chosen(expr), "legendFormat": legend, "refId": chr(ord("A") + i),
                "instant": kind == "stat", "range": kind != "stat"} for i, (expr, legend) in enumerate(queries)]
    return {"title": title, "description": about, "type": kind, "width": width, "height": height,
            "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options, "targets": targets}


def stat(title, about, expr, legend="", width=4, **more):
    return panel(title, about, (expr, legend), kind="stat", width=width, height=4, **more)


def count(title, about, *queries, **more):
    """A panel of whole numbers from 0 on."""
    return panel(title, about, *queries, decimals=0, least=0, **more)


SOURCE = {"type": "prometheus", "uid": "${source}"}


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE,
            "query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "includeAll": True,
            "allValue": ".*", "multi": True, "sort": 1,
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
             "expr": chosen("changes(flowawr_learner_reward_spec_version{RUN}[1m]) > 0"),
             "titleFormat": "rewards swapped"},
            {"name": "alerts", "datasource": SOURCE, "enable": True, "iconColor": "red",
             "expr": chosen('ALERTS{alertname=~"Flowawr.*",alertstate="firing",RUN}'),
             "titleFormat": "{{alertname}}"}]},
        "templating": {"list": [
            {"name": "source", "label": "source", "type": "datasource", "query": "prometheus",
             "current": {"text": "Prometheus", "value": "prometheus"}},
            variable("run", "run", "label_values(flowawr_build_info, run)"),
            variable("instance", "process", chosen("label_values(flowawr_build_info{RUN}, instance)")), *variables]},
        "panels": out}


LEARNING = board(
    "flowawr-learning", "FlowAWR: is it learning?",
    "Whether the held-out reward rises, and what the updates look like.", [
        stat("phase", "What the run is doing. Paused: see the cause beside it.",
             "flowawr_learner_phase{ONE} == 1", "{{phase}}", width=3),
        stat("paused because of", "operator: by `flowawr pause`; disk: a file could not be written; attempts: a "
             "group failed too often; reward: a held-out reward fell by more than its max_drop.",
             "flowawr_learner_paused{ONE} == 1", "{{cause}}", width=3, empty="not paused"),
        stat("updates done", "Over all resumes.", "flowawr_learner_updates_total{ONE}", decimals=0, width=3),
        stat("updates planned", "After these the run is finished.",
             "flowawr_learner_updates_planned{ONE}", decimals=0, width=3),
        stat("time left", "Estimate from the time of the updates done.",
             "flowawr_learner_remaining_seconds{ONE}", unit=SECONDS, width=3, empty="not known"),
        stat("held-out gain", "Held-out reward less that of the base model, in the reward's own unit.",
             "flowawr_learner_heldout_reward{ONE} - flowawr_learner_heldout_base_reward{ONE}", decimals=3, width=3),
        stat("newest evaluation", "After how many updates the held-out figures were measured.",
             "flowawr_learner_heldout_update{ONE}", width=3, decimals=0, empty="none yet"),
        stat("warnings", "What the run goes on in spite of; `flowawr status` says what.",
             "flowawr_learner_warnings{ONE}", width=3, decimals=0),
        panel("reward", "Should rise, the held-out one above all: it is measured on prompts that are never trained "
              "on, by the average policy. The trained one is of the last batch and noisy.",
              ("flowawr_learner_heldout_reward{ONE}", "held out"), ("flowawr_learner_reward{ONE}", "last batch"),
              ("flowawr_learner_heldout_base_reward{ONE}", "base model"), width=12, height=9),
        panel("reward by scorer", "Of the last batch, shadows included.",
              ("flowawr_learner_scorer_reward{ONE}", "{{scorer}}"), width=6, height=9),
        panel("held-out images exactly right", "By the first scorer's word, where it says such a thing, as the OCR "
              "does.",
              ("flowawr_learner_heldout_exact_ratio{ONE}", "exact"), unit=SHARE, width=6, height=9, least=0),
        panel("loss", "Of the regression towards better images. Hovers; a rise without end is a policy that goes "
              "astray.",
              ("flowawr_learner_loss{ONE}", "loss"), width=6),
        panel("distance from the base model", "Mean squared distance of velocities (KL). Grows slowly; fast growth "
              "with a falling held-out reward: raise kl_beta of the algorithm's section or lower the learning rate.",
              ("flowawr_learner_kl{ONE}", "kl"), width=6),
        panel("gradient norm", "Before clipping. Spikes: single groups with extreme energies.",
              ("flowawr_learner_gradient_norm{ONE}", "norm"), width=6),
        panel("groups that teach nothing", "All their rewards are equal. Near 100%: prompts too easy or too hard, or "
              "a reward too coarse.",
              ("flowawr_learner_equal_groups_ratio{ONE}", "equal"), unit=SHARE, width=6, least=0),
        panel("updates", "A minute; skipped ones changed nothing, as all their groups taught nothing.",
              ("60 * rate(flowawr_learner_updates_total{ONE}[$__rate_interval])", "done a minute"),
              ("60 * rate(flowawr_learner_updates_skipped_total{ONE}[$__rate_interval])", "skipped a minute"), width=8),
        panel("energies", "The weights of the regression: about 0 on average, symmetric; at "
              "algorithm.flow_awr.energy_clip they are cut.",
              ("flowawr_learner_energy{ONE}", "{{figure}}"), width=8),
        panel("what a crash would lose", "Since the newest checkpoint.",
              ("flowawr_learner_checkpoint_age_seconds{ONE}", "checkpoint"),
              ("flowawr_learner_update_age_seconds{ONE}", "update"), unit=SECONDS, width=8),
    ])

SPEED = board(
    "flowawr-speed", "FlowAWR: why is it slow?",
    "Where the time of the learner, of the actors and of the rewards goes.", [
        stat("images drawn", "By all actors, a second.", "run:flowawr_images_drawn:rate5m{RUN}", unit=PER_S),
        stat("images trained on", "A second.", "run:flowawr_images_trained:rate5m{RUN}", unit=PER_S),
        stat("an update takes", "On average over the run.",
             "instance:flowawr_learner_update_seconds:mean{ONE}", unit=SECONDS),
        stat("actors", "Heard of lately.", "flowawr_learner_actors{ONE}", decimals=0),
        stat("samplers idle", "Share of the actors' time in which their samplers wait: much means that the learner "
             "or the rewards are the slow part.",
             "avg(instance:flowawr_actor_idle:ratio5m{RUN})", unit=SHARE),
        stat("open leases", "Groups that are being made.", "flowawr_learner_open_leases{ONE}", decimals=0),
        panel("learner: share of time by stage", "wait: for actors. train: the gradient. Much wait: more actors, or "
              "faster rewards. Much train: more train.threads.",
              ("run_stage:flowawr_learner_stage_seconds:ratio5m{RUN}", "{{stage}}"), unit=SHARE, stack=True, width=12,
              least=0),
        panel("actors: seconds a second by stage", "Stages work side by side, and scoring in several threads, so "
              "that the sum is above 1 for each actor.",
              ("sum by (stage) (rate(flowawr_actor_stage_seconds_total{RUN}[$__rate_interval]))", "{{stage}}"),
              unit=PLAIN, stack=True, width=12, least=0),
        panel("idle share by actor", "Of its sampler. One that is never idle among others that are is the slow one.",
              ("instance:flowawr_actor_idle:ratio5m{ONE}", "{{instance}}"), unit=SHARE, least=0),
        panel("images by actor", "A second, over the last minute, as the learner sees it.",
              ("flowawr_learner_actor_images_per_second{RUN}", "{{actor}}"), unit=PER_S, least=0),
        count("groups of the next batch", "How many are in. A batch that stays nearly full waits for one slow group.",
              ("flowawr_learner_batch_groups{ONE}", "in"), ("flowawr_learner_batch_size_groups{ONE}", "wanted")),
        count("what waits in actors", "Groups before a stage. score: rewards are slower than sampling.",
              ("sum by (stage) (flowawr_actor_queue_groups{ONE})", "{{stage}}")),
        panel("a scorer's call", "Half are faster than the first line, 95% than the second.",
              ("histogram_quantile(0.5, sum by (scorer, le) (rate(flowawr_scoring_seconds_bucket{RUN}[5m])))",
               "{{scorer}} 50%"),
              ("histogram_quantile(0.95, sum by (scorer, le) (rate(flowawr_scoring_seconds_bucket{RUN}[5m])))",
               "{{scorer}} 95%"), unit=SECONDS, least=0),
        panel("cores in use", "By kind of process.",
              ("run_process:process_cpu_seconds:rate5m{RUN}", "{{process}}"), unit=PLAIN, stack=True, least=0),
        panel("bytes received by servers", "By method: groups come in by SubmitGroup, images by Score.",
              ('sum by (method) (rate(flowawr_rpc_received_bytes_total{RUN,side="server"}[$__rate_interval]))',
               "{{method}}"), unit=BYTES_S, least=0, width=12),
        panel("bytes sent by servers", "By method: policy versions go out by FetchPolicy.",
              ('sum by (method) (rate(flowawr_rpc_sent_bytes_total{RUN,side="server"}[$__rate_interval]))',
               "{{method}}"), unit=BYTES_S, least=0, width=12),
        panel("bytes of adapters", "What actors got of them: from the learner, or from a peer, another actor.",
              ("sum by (source) (rate(flowawr_learner_policy_fetched_bytes_total{ONE}[$__rate_interval]))",
               "{{source}}"), unit=BYTES_S, least=0, width=6),
        panel("rows by rank", "A second, of the last update: the slowest rank holds up the others.",
              ("flowawr_learner_rank_rows_per_second{ONE}", "rank {{rank}}"), unit=PER_S, least=0, empty=ONE_LEARNER,
              width=6),
        panel("what ranks cost rank 0", "Share of its time in which it sends shares, receives results and adds them "
              "up. Shares are sent while it computes.",
              ("sum by (stage) (rate(flowawr_learner_rank_exchange_seconds_total{ONE}[$__rate_interval]))",
               "{{stage}}"), unit=SHARE, least=0, empty=ONE_LEARNER, width=6),
        panel("retries", "A second. score: reward servers that are busy or away; submit: a learner that is away.",
              ("sum by (what) (rate(flowawr_actor_retries_total{RUN}[$__rate_interval]))", "{{what}}"), unit=PER_S,
              least=0, width=6),
    ])

HACKING = board(
    "flowawr-hacking", "FlowAWR: is the policy hacking the reward?",
    "Signs that the reward rises while the pictures get no better. Look at the newest pictures, too: figures see "
    "what they were made to see.", [
        stat("trained less held-out", "Reward of the last batch less the held-out one. Growing: what is learnt holds "
             "for the training prompts only.",
             "flowawr_learner_reward{ONE} - flowawr_learner_heldout_reward{ONE}", decimals=3),
        stat("held-out gain", "Over the base model.",
             "flowawr_learner_heldout_reward{ONE} - flowawr_learner_heldout_base_reward{ONE}", decimals=3),
        stat("reward spec", "Version; grows with every swap. Rewards before and after one cannot be compared.",
             "flowawr_learner_reward_spec_version{ONE}", decimals=0),
        stat("samples at the clip", "Share of energies that are cut: much means rewards with outliers.",
             "flowawr_learner_energy_clipped_ratio{ONE}", unit=SHARE),
        stat("reward weights", "Weight 0 is a shadow: scored, not trained on.",
             "flowawr_learner_reward_weight{ONE}", "{{scorer}}"),
        stat("groups compared", "Of the newest updates, in which a shadow could be held against what is trained on: "
             "what the panels of shadows rest on.",
             "flowawr_learner_shadow_groups{ONE}", "{{scorer}}", decimals=0, empty="no shadow"),
        panel("trained and held-out reward", "Together is well. The held-out one turning down while the trained one "
              "rises is the sign: FlowawrRewardHacking fires then.",
              ("flowawr_learner_reward{ONE}", "last batch"), ("flowawr_learner_heldout_reward{ONE}", "held out"),
              width=12, height=9),
        panel("each scorer on held-out prompts", "One that falls while the one with the weight rises pays for it. "
              "Add shadows (weight 0) to have more witnesses.",
              ("flowawr_learner_heldout_scorer_reward{ONE}", "{{scorer}}"), width=12, height=9),
        panel("does a shadow agree?", "Spearman's rank correlation, within groups, of a shadow with what is trained "
              "on. Falling: they part ways.",
              ("flowawr_learner_shadow_rank_correlation{ONE}", "{{scorer}}"), empty="no shadow"),
        panel("would a shadow choose another image?", "Share of groups whose best image is another one for the "
              "shadow.",
              ("flowawr_learner_shadow_best_differs{ONE}", "{{scorer}}"), unit=SHARE, least=0, empty="no shadow"),
        panel("distance from the base model", "Hacks live far from the base model. Raise kl_beta of the algorithm's "
              "section to stay nearer.",
              ("flowawr_learner_kl{ONE}", "kl")),
        panel("energies at the clip", "Share of the samples.",
              ("flowawr_learner_energy_clipped_ratio{ONE}", "at the clip"), unit=SHARE, least=0),
        panel("groups that teach nothing", "A policy that always draws the same thing gets the same reward.",
              ("flowawr_learner_equal_groups_ratio{ONE}", "equal"), unit=SHARE, least=0),
        panel("reward by scorer, last batch", "Shadows included.",
              ("flowawr_learner_scorer_reward{ONE}", "{{scorer}}")),
    ])

FLEET = board(
    "flowawr-fleet", "FlowAWR: who is stale?",
    "Actors, what they hold, what was lost and why.", [
        stat("actors", "Heard of within ten seconds.", "flowawr_learner_actors{ONE}", decimals=0),
        stat("lost in the last hour", "Not heard of any more, or begun anew without having left.",
             "increase(flowawr_learner_actors_lost_total{ONE}[1h])", decimals=0),
        stat("most stale group", "Versions behind, of the last batch.",
             "flowawr_learner_staleness_max_versions{ONE}", decimals=0),
        stat("allowed", "rollout.max_staleness; 0: strictly in step.",
             "flowawr_learner_staleness_limit_versions{ONE}", decimals=0),
        stat("groups dropped in the last hour", "For whatever cause.",
             "sum(increase(flowawr_learner_groups_dropped_total{ONE}[1h]))", decimals=0),
        stat("processes that answer", "Of those that Prometheus knows.", 'sum(up{job=~".*flowawr.*",RUN})', decimals=0),
        count("versions behind", "Published versions since the one that the actor adopted last. One that stays "
              "behind has trouble fetching or binding it.",
              ("flowawr_learner_actor_version_lag{RUN}", "{{actor}}")),
        panel("staleness of the batches", "How far behind the groups were that were trained on.",
              ("flowawr_learner_staleness_mean_versions{ONE}", "mean"),
              ("flowawr_learner_staleness_max_versions{ONE}", "most"),
              ("flowawr_learner_staleness_limit_versions{ONE}", "allowed"), width=8, least=0),
        panel("seconds since heard of", "Above ten an actor counts as lost.",
              ("flowawr_learner_actor_silence_seconds{RUN}", "{{actor}}"), unit=SECONDS, width=8, least=0),
        count("leases held", "By actor.", ("flowawr_learner_actor_held_leases{RUN}", "{{actor}}"), stack=True),
        count("actors coming and going", "In the last five minutes.",
              ("increase(flowawr_learner_actors_joined_total{ONE}[5m])", "joined"),
              ("increase(flowawr_learner_actors_left_total{ONE}[5m])", "left"),
              ("increase(flowawr_learner_actors_lost_total{ONE}[5m])", "lost")),
        count("groups taken by actor", "In the last five minutes, as the learner counts them.",
              ("increase(flowawr_learner_actor_groups_total{RUN}[5m])", "{{actor}}"), stack=True),
        count("groups dropped by cause", "In the last five minutes, as the learner counts them. stale, swapped and "
              "duplicate belong to the work; the others are failures.",
              ("sum by (cause) (increase(flowawr_learner_groups_dropped_total{ONE}[5m])) > 0", "{{cause}}"),
              empty="none"),
        count("groups lost by cause", "In the last five minutes, as the actors count them.",
              ("sum by (cause) (increase(flowawr_actor_lost_groups_total{RUN}[5m])) > 0", "{{cause}}"), empty="none"),
        count("versions adopted", "By actor, and the newest that it was told of.",
              ("flowawr_actor_adopted_version{ONE}", "{{instance}}"),
              ("max(flowawr_actor_announced_version{ONE})", "announced")),
        count("where adapters came from", "In the last five minutes: the learner, or a peer, another actor. With "
              "--peer-listen at all actors the learner sends ten of a version.",
              ("sum by (source) (increase(flowawr_learner_policy_fetches_total{ONE}[5m]))", "{{source}}")),
        count("fetches from actors that failed", "In the last five minutes. wrong_bytes: a broken machine or a "
              "hostile one; the log of the actor that counts it names the address.",
              ("sum by (cause) (increase(flowawr_actor_policy_peer_failures_total{RUN}[5m])) > 0", "{{cause}}"),
              empty="none"),
        count("registrations", "More than one an actor: the learner was lost and found.",
              ("flowawr_actor_sessions_total{ONE}", "{{instance}}")),
        panel("up for", "Time since a process started: one that falls to 0 was started again.",
              ("time() - process_start_time_seconds{ONE} and on (job, instance, run) flowawr_build_info",
               "{{instance}}"), unit=SECONDS, least=0),
        count("reward servers left alone", "1: the actor's circuit breaker is not closed.",
              ('1 - flowawr_actor_reward_breaker{ONE,state="closed"}', "{{instance}} {{endpoint}}")),
        count("ranks of the learner", "By state: ready, joining (not there yet), lost.",
              ("sum by (state) (flowawr_learner_rank_state{ONE})", "{{state}}"), stack=True, empty=ONE_LEARNER),
        count("ranks lost and awaited", "By rank, how often it was lost in the last five minutes; and for how many "
              "ranks the update waits.",
              ("increase(flowawr_learner_rank_losses_total{ONE}[5m])", "rank {{rank}} lost"),
              ("flowawr_learner_awaited_ranks{ONE}", "awaited"), empty=ONE_LEARNER),
        panel("calls that failed", "A second, as clients see them, by gRPC's code. CANCELLED and DEADLINE_EXCEEDED "
              "of watches and waits are ordinary.",
              ('sum by (code) (rate(flowawr_rpc_calls_total{RUN,side="client",code!="OK"}[$__rate_interval]))',
               "{{code}}"), unit=PER_S, least=0, empty="none"),
        count("calls refused at the door", "In the last five minutes: tokens, roles, or meant for another run.",
              ("sum by (reason) (increase(flowawr_rpc_rejected_calls_total{RUN}[5m])) > 0", "{{reason}}"),
              empty="none"),
    ])

COST = board(
    "flowawr-cost", "FlowAWR: what does the fleet cost per image?",
    "Processor time, memory, bytes and judges' fees for each image that is trained on. Set the price of a core hour "
    "above.", [
        stat("core seconds an image", "Of all processes together, for an image that is trained on.",
             "run:flowawr_cpu_seconds_per_image:ratio5m{RUN}", unit=SECONDS),
        stat("1,000 images cost", "At the price of a core hour above; judges' fees apart.",
             "run:flowawr_cpu_seconds_per_image:ratio5m{RUN} / 3600 * 1000 * $core_hour", decimals=4),
        stat("images trained on", "So far.", "flowawr_learner_samples_trained_total{ONE}", decimals=0),
        stat("groups for nothing", "Share of the groups that actors made or began and the learner did not take.",
             "sum(flowawr_actor_lost_groups_total{RUN}) / (sum(flowawr_actor_lost_groups_total{RUN}) + "
             "sum(flowawr_actor_groups_total{RUN}))", unit=SHARE),
        stat("memory", "Of all processes.",
             "sum(process_resident_memory_bytes{RUN} and on (job, instance, run) flowawr_build_info)", unit=BYTES),
        stat("room for the run", "On the file system of its folder.",
             "flowawr_learner_run_directory_free_bytes{ONE}", unit=BYTES),
        panel("core seconds an image", "Falls when actors are idle less and the learner waits less.",
              ("run:flowawr_cpu_seconds_per_image:ratio5m{RUN}", "core seconds"), unit=SECONDS, least=0),
        panel("cores in use", "By kind of process.",
              ("run_process:process_cpu_seconds:rate5m{RUN}", "{{process}}"), stack=True, least=0),
        panel("memory by process", "That it really occupies.",
              ("process_resident_memory_bytes{ONE} and on (job, instance, run) flowawr_build_info", "{{instance}}"),
              unit=BYTES, stack=True, least=0),
        panel("bytes an image", "Received by the learner and reward servers for an image that is trained on.",
              ('sum by (run) (rate(flowawr_rpc_received_bytes_total{RUN,side="server"}[5m])) / '
               "(run:flowawr_images_trained:rate5m{RUN} > 0)", "bytes"), unit=BYTES, least=0),
        panel("what scorers use", "A judge's requests, tokens and cost, a second.",
              ("sum by (scorer, what) (rate(flowawr_scorer_used_total{RUN}[$__rate_interval]))",
               "{{scorer}} {{what}}"), least=0, empty="no judge among the scorers"),
        panel("memory of scorers", "Of their weights.",
              ("flowawr_scorer_memory_bytes{RUN}", "{{instance}} {{scorer}}"), unit=BYTES, least=0),
        panel("open files and connections", "By process, of as many as there may be: at 100% nobody can connect.",
              ("process_open_fds{ONE} / process_max_fds and on (job, instance, run) flowawr_build_info",
               "{{instance}}"), unit=SHARE, least=0),
        panel("certificates expire in", "By process.",
              ("flowawr_tls_certificate_expiry_timestamp_seconds{ONE} - time()", "{{instance}}"), unit=SECONDS,
              least=0, empty="no TLS"),
        panel("free room", "On the file system of the run's folder.",
              ("flowawr_learner_run_directory_free_bytes{ONE}", "free"), unit=BYTES, least=0),
    ], [textbox("core_hour", "price of a core hour", "0.05")])

REWARDS = board(
    "flowawr-rewards", "FlowAWR: do the rewards keep up?",
    "Reward servers: what waits, how long scoring takes, what failed.", [
        stat("images scored", "A second.",
             'sum(rate(flowawr_scored_images_total{ONE,outcome="reward"}[5m]))', unit=PER_S),
        stat("failures", "Share of the images that got an error instead of a reward.",
             'sum(rate(flowawr_scored_images_total{ONE,outcome!="reward"}[5m])) / '
             "sum(rate(flowawr_scored_images_total{ONE}[5m]))", unit=SHARE),
        stat("scorers", "Loaded, on all servers.", "count(flowawr_scorer_healthy{ONE})", decimals=0),
        stat("stuck", "Scorers with a call that does not return.", "sum(1 - flowawr_scorer_healthy{ONE})", decimals=0),
        stat("requests in memory", "Bytes of requests and answers.",
             "sum(flowawr_pending_request_bytes{ONE})", unit=BYTES),
        stat("loaded again", "Scorers that a server had lost and the learner loaded again, in the last hour.",
             "sum(increase(flowawr_learner_scorers_loaded_again_total{RUN}[1h]))", decimals=0, empty="none"),
        panel("images waiting", "By scorer, of as many as may wait: at 100% the rest is answered with overloaded, and "
              "comes again later.",
              ("flowawr_scorer_queue_images{ONE} / flowawr_scorer_queue_limit_images", "{{instance}} {{scorer}}"),
              unit=SHARE, least=0),
        panel("images by outcome", "A second.",
              ("sum by (scorer, outcome) (rate(flowawr_scored_images_total{ONE}[$__rate_interval]))",
               "{{scorer}} {{outcome}}"), unit=PER_S, stack=True, least=0),
        panel("images a call", "How many a scorer is given at once, on average. Few while many wait: --max-batch is "
              "small.",
              ("sum by (scorer) (rate(flowawr_scoring_batch_images_sum{ONE}[5m])) / sum by (scorer) "
               "(rate(flowawr_scoring_batch_images_count{ONE}[5m]))", "{{scorer}}"), least=0),
        panel("a request, from coming to answer", "50% and 95%.",
              ("histogram_quantile(0.5, sum by (scorer, le) (rate(flowawr_score_request_seconds_bucket{ONE}[5m])))",
               "{{scorer}} 50%"),
              ("histogram_quantile(0.95, sum by (scorer, le) (rate(flowawr_score_request_seconds_bucket{ONE}[5m])))",
               "{{scorer}} 95%"), unit=SECONDS, least=0),
        panel("waiting for the scorer", "50% and 95% of the images.",
              ("histogram_quantile(0.5, sum by (scorer, le) (rate(flowawr_scorer_wait_seconds_bucket{ONE}[5m])))",
               "{{scorer}} 50%"),
              ("histogram_quantile(0.95, sum by (scorer, le) (rate(flowawr_scorer_wait_seconds_bucket{ONE}[5m])))",
               "{{scorer}} 95%"), unit=SECONDS, least=0),
        count("calls under way, as actors see them", "By reward server.",
              ("sum by (endpoint) (flowawr_actor_reward_calls{RUN})", "{{endpoint}}")),
    ])

DEVICES = board(
    "flowawr-devices", "FlowAWR: are the devices at work?",
    "GPUs: what they hold, what goes to and from them, whether they idle. What NVIDIA's driver says of a card is "
    "shown by each process that uses it.", [
        stat("processes on devices", "Of the chosen ones.",
             "count(group by (run, instance) (flowawr_device_memory_reserved_bytes{ONE}))", decimals=0,
             empty=NO_DEVICE),
        stat("at work", "Mean share of the time, over processes and cards.",
             "avg(flowawr_device_utilization_ratio{ONE})", unit=SHARE, empty=NO_CARD),
        stat("fullest", "Most memory that a process needed so far, with what others hold of its card, of the card's.",
             "max((flowawr_device_used_memory_bytes{ONE} - flowawr_device_memory_reserved_bytes + "
             "flowawr_device_memory_peak_bytes) / flowawr_device_memory_size_bytes)", unit=SHARE, empty=NO_CARD),
        stat("hottest", "Of their chips.",
             "max(flowawr_device_temperature_celsius{ONE})", unit="celsius", empty=NO_CARD),
        stat("held down", "Cards, by process and reason, whose clocks are lower than they could be; the power limit "
             "does not count.",
             'sum(flowawr_device_throttled{ONE,reason!="power_cap"})', decimals=0, empty=NO_CARD),
        stat("samplers idle", "Share of the actors' time in which their samplers wait.",
             "avg(instance:flowawr_actor_idle:ratio5m{RUN})", unit=SHARE),
        panel("at work", "Share of the last moments in which anything computed on it, for whomever. Little over half "
              "an hour: FlowawrDeviceIdle.",
              ("flowawr_device_utilization_ratio{ONE}", "{{instance}} {{device}}"), unit=SHARE, least=0, empty=NO_CARD),
        panel("memory taken", "By each process: allocated, or kept to be allocated again.",
              ("flowawr_device_memory_reserved_bytes{ONE}", "{{instance}} {{device}}"), unit=BYTES, stack=True,
              least=0, empty=NO_DEVICE),
        panel("memory of tensors", "Now, and the most so far, which is what the plan is about.",
              ("flowawr_device_memory_allocated_bytes{ONE}", "{{instance}} {{device}}"),
              ("flowawr_device_memory_peak_bytes{ONE}", "{{instance}} {{device}} most"), unit=BYTES, least=0,
              empty=NO_DEVICE),
        panel("copied by processes", "Up: weights, adapters, noise, embeddings, rows. Down: latents, pictures, "
              "gradients, scores.",
              ("rate(flowawr_device_transfer_bytes_total{ONE}[$__rate_interval])",
               "{{instance}} {{device}} {{direction}}"), unit=BYTES_S, least=0, empty=NO_DEVICE),
        panel("over the bus", "For whomever, as the card counts it.",
              ("rate(flowawr_device_bus_bytes_total{ONE}[$__rate_interval])", "{{instance}} {{device}} {{direction}}"),
              unit=BYTES_S, least=0, empty=NO_CARD),
        panel("memory in use", "Of the card's, by all processes and the driver.",
              ("flowawr_device_used_memory_bytes{ONE} / flowawr_device_memory_size_bytes", "{{instance}} {{device}}"),
              unit=SHARE, least=0, empty=NO_CARD),
        panel("power", "Of a card, shown by each process that uses it.",
              ("flowawr_device_power_watts{ONE}", "{{instance}} {{device}}"), unit="watt", least=0, empty=NO_CARD),
        panel("temperature", "Of its chip.",
              ("flowawr_device_temperature_celsius{ONE}", "{{instance}} {{device}}"), unit="celsius", empty=NO_CARD),
        count("held down", "1: its clocks are lower than they could be, and why; power_cap is ordinary under full "
              "load.",
              ("flowawr_device_throttled{ONE}", "{{instance}} {{device}} {{reason}}"), empty=NO_CARD),
    ])

BOARDS = [LEARNING, SPEED, HACKING, FLEET, COST, REWARDS, DEVICES]


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    for dashboard in BOARDS:
        (folder / f"{dashboard['uid']}.json").write_text(json.dumps(dashboard, indent=1) + "\n")


if __name__ == "__main__":
    main()
