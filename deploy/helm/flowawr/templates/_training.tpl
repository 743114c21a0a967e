{{/* The learner's pod and the actors' pod, each used by whatever keeps them running. */}}

{{- define "flowawr.learnerContainer" -}}
args:  # the image runs them under an init
  - flowawr-learner
  - --config
  - /etc/flowawr/config/run.yaml
  - --resume  # from the newest checkpoint, if there is one
  - --fail-when-stopped  # an evicted learner has not finished its run: its Job starts it again
  - --metrics
  - {{ include "flowawr.listen" (list . (include "flowawr.port.metrics" .)) | quote }}
  - --log-level
  - {{ .Values.learner.logLevel }}
ports:
  - {name: grpc, containerPort: {{ include "flowawr.port.learner" . }}}
  - {name: metrics, containerPort: {{ include "flowawr.port.metrics" . }}}
{{ include "flowawr.probes" (list . (include "flowawr.port.learner" .) .Values.learner.startupSeconds) }}
{{- end }}

{{/* Of a rank that is not the first: the same program and configuration, and nobody calls it. (list $ "host of rank 0") */}}
{{- define "flowawr.rankContainer" -}}
{{- $root := index . 0 -}}
args:
  - flowawr-learner
  - --config
  - /etc/flowawr/config/run.yaml
  - --first-rank  # by the index of the Job
  - "1"
  - --rank0
  - {{ index . 1 }}:{{ include "flowawr.port.ranks" $root }}
  - --fail-when-stopped  # until rank 0 says that the run is over
  - --metrics
  - {{ include "flowawr.listen" (list $root (include "flowawr.port.metrics" $root)) | quote }}
  - --log-level
  - {{ $root.Values.learner.logLevel }}
ports:
  - {name: metrics, containerPort: {{ include "flowawr.port.metrics" $root }}}
{{- $check := include "flowawr.metricsCheck" (list $root "probe.yaml" (include "flowawr.isGuarded" $root)) }}
startupProbe:
  {{- $check | nindent 2 }}
  periodSeconds: 5
  failureThreshold: {{ div ($root.Values.learner.startupSeconds | int64) 5 | max 1 }}
livenessProbe:
  {{- $check | nindent 2 }}
  periodSeconds: 20
  failureThreshold: 6
{{- end }}

{{/* Copies what the run keeps to an object store, beside the learner and once more when it has ended. */}}
{{- define "flowawr.copySidecar" -}}
- name: copy
  image: {{ .Values.copy.image }}
  restartPolicy: Always
  command: [sh, -c]
  args:
    - |
      copy() { rclone copy /runs "$REMOTE" --config /etc/rclone/rclone.conf --exclude '/*/lock' --exclude '/*/endpoints/**'; }
      trap 'copy; exit 0' TERM
      while :; do copy || echo "copy failed, tried again in $EVERY s" >&2; sleep "$EVERY" & wait $!; done
  env:
    - {name: REMOTE, value: {{ .Values.copy.remote | quote }}}
    - {name: EVERY, value: {{ .Values.copy.everySeconds | int64 | quote }}}
    - {name: HOME, value: /tmp}
  resources:
    requests: {cpu: 100m, memory: 128Mi}
    limits: {cpu: "1", memory: 512Mi}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
  volumeMounts:
    - {name: runs, mountPath: /runs, readOnly: true}
    - {name: rclone, mountPath: /etc/rclone, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{- end }}

{{/* What all ranks mount. */}}
{{- define "flowawr.rankMounts" -}}
{{- if .Values.learner.sharedMemory }}
- {name: shared-memory, mountPath: /dev/shm}
{{- end }}
{{- end }}

{{- define "flowawr.rankVolumes" -}}
{{- with .Values.learner.sharedMemory }}
- name: shared-memory
  emptyDir: {medium: Memory, sizeLimit: {{ . }}}
{{- end }}
{{- end }}

{{- define "flowawr.learnerMounts" -}}
- {name: runs, mountPath: /runs}
{{- include "flowawr.rankMounts" . }}
{{- if or .Values.prompts.files .Values.prompts.configMap }}
- {name: prompts, mountPath: {{ .Values.prompts.mountPath }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "flowawr.learnerVolumes" -}}
- name: runs
  persistentVolumeClaim: {claimName: {{ .Values.runs.claim | default (printf "%s-runs" (include "flowawr.fullname" .)) }}}
{{- include "flowawr.rankVolumes" . }}
{{- if or .Values.prompts.files .Values.prompts.configMap }}
- name: prompts
  configMap: {name: {{ .Values.prompts.configMap | default (printf "%s-prompts" (include "flowawr.fullname" .)) }}}
{{- end }}
{{- if .Values.copy.enabled }}
- name: rclone
  secret: {secretName: {{ .Values.copy.configSecret }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{/* The spec of the learner's Job: rank 0. Exit codes that no restart mends (docs/operations.md, "Logs and exit codes")
     end it; evictions do not count. */}}
{{- define "flowawr.learnerJob" -}}
completionMode: Indexed
completions: 1
parallelism: 1
backoffLimit: {{ .Values.learner.backoffLimit | int64 }}
podReplacementPolicy: Failed  # never two learners at a time
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    - action: FailJob
      onExitCodes: {containerName: learner, operator: In, values: [64, 65, 66, 73, 77, 78]}
template:
  {{- $sidecars := "" -}}
  {{- if .Values.copy.enabled }}{{- $sidecars = include "flowawr.copySidecar" . }}{{- end }}
  {{- $prompts := .Values.prompts.files | toYaml }}
  {{- include "flowawr.pod" (dict "root" . "role" .Values.learner "component" "learner" "account" "learner" "restart" "Never"
        "container" (include "flowawr.learnerContainer" .) "mounts" (include "flowawr.learnerMounts" .)
        "volumes" (include "flowawr.learnerVolumes" .) "sidecars" $sidecars
        "configItems" (list "run.yaml" "probe.yaml") "tokens" (list "actor" "reward" "operator" "read-only")
        "configDigest" (printf "%s%s" (include "flowawr.runConfig" .) $prompts | sha256sum | trunc 16)) | nindent 2 }}
{{- end }}

{{/* The spec of the Job of the other ranks, which ends with the JobSet. Each is started again by itself. That rank 0 is away
     (69) is no failure of theirs. No exit code ends the run: what all ranks are started with wrongly ends rank 0, and one
     that is refused may find another node, or the rank 0 that it belongs to, the next time. (list $ "host of rank 0") */}}
{{- define "flowawr.rankJob" -}}
{{- $root := index . 0 -}}
completionMode: Indexed
completions: {{ sub $root.Values.learner.ranks 1 }}
parallelism: {{ sub $root.Values.learner.ranks 1 }}
backoffLimitPerIndex: {{ $root.Values.learner.backoffLimit | int64 }}
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    - action: Ignore
      onExitCodes: {containerName: learner, operator: In, values: [69]}
template:
  {{- include "flowawr.pod" (dict "root" $root "role" $root.Values.learner "component" "rank" "account" "learner" "restart" "Never"
        "certificateOf" "learner" "container" (include "flowawr.rankContainer" .) "mounts" (include "flowawr.rankMounts" $root | trim)
        "volumes" (include "flowawr.rankVolumes" $root | trim)
        "configItems" (list "run.yaml" "probe.yaml") "tokens" (list "actor" "reward" "operator" "read-only")
        "configDigest" (include "flowawr.runConfig" $root | sha256sum | trunc 16)) | nindent 2 }}
{{- end }}

{{- define "flowawr.actorContainer" -}}
args:
  - flowawr-actor
  - --learner
  - {{ include "flowawr.fullname" . }}-learner:{{ include "flowawr.port.learner" . }}
  - --id
  - $(POD_NAME)
  - --threads
  - {{ .Values.actors.threads | int64 | quote }}
  - --score-workers
  - {{ .Values.actors.scoreWorkers | int64 | quote }}
  - --evaluation-rows
  - {{ .Values.actors.evaluationRows | int64 | quote }}
  - --give-up-after
  - {{ .Values.actors.giveUpAfterSeconds | int64 | quote }}
  {{- if eq .Values.actors.workload "Job" }}
  - --fail-when-stopped  # an evicted actor is replaced; one that was told of the run's end is not
  {{- end }}
  {{- if .Values.actors.peers }}
  - --peer-listen  # adapters from actor to actor
  - {{ include "flowawr.listen" (list . (include "flowawr.port.peers" .)) | quote }}
  {{- end }}
  - --network-config
  - /etc/flowawr/config/actor.yaml
  - --metrics
  - {{ include "flowawr.listen" (list . (include "flowawr.port.metrics" .)) | quote }}
  - --log-level
  - {{ .Values.actors.logLevel }}
ports:
  - {name: metrics, containerPort: {{ include "flowawr.port.metrics" . }}}
  {{- if .Values.actors.peers }}
  - {name: peers, containerPort: {{ include "flowawr.port.peers" . }}}
  {{- end }}
{{- $check := include "flowawr.metricsCheck" (list . "actor.yaml" .Values.tls.mutual) }}
startupProbe:
  {{- $check | nindent 2 }}
  periodSeconds: 5
  failureThreshold: {{ div (.Values.actors.startupSeconds | int64) 5 | max 1 }}
livenessProbe:
  {{- $check | nindent 2 }}
  periodSeconds: 20
  failureThreshold: 6
{{- end }}

{{/* For what serves nothing but /metrics: kubelet asks, or the program where a token or a certificate is to be shown.
     (list $ "its section `network`" whether it is to show one) */}}
{{- define "flowawr.metricsCheck" -}}
{{- $root := index . 0 -}}
{{- if index . 2 -}}
exec:
  command: [flowawr, health, --metrics, "127.0.0.1:{{ include "flowawr.port.metrics" $root }}", --network-config, /etc/flowawr/config/{{ index . 1 }}]
timeoutSeconds: 10
{{- else -}}
httpGet: {path: /metrics, port: metrics, scheme: {{ eq $root.Values.tls.mode "off" | ternary "HTTP" "HTTPS" }}}
timeoutSeconds: 5
{{- end }}
{{- end }}

{{/* (list $ "Always" or "OnFailure" ...) */}}
{{- define "flowawr.actorPod" -}}
{{- $root := index . 0 -}}
{{- include "flowawr.pod" (dict "root" $root "role" $root.Values.actors "component" "actor" "account" "actor" "restart" (index . 1)
      "container" (include "flowawr.actorContainer" $root) "configItems" (list "actor.yaml") "tokens" (list "actor")
      "configDigest" (include "flowawr.actorNetwork" $root | trim | sha256sum | trunc 16)) }}
{{- end }}

{{/* The spec of the actors' Job. */}}
{{- define "flowawr.actorJob" -}}
completionMode: Indexed
completions: {{ .Values.actors.replicas | int64 }}
parallelism: {{ .Values.actors.replicas | int64 }}
backoffLimitPerIndex: {{ .Values.actors.backoffLimit | int64 }}  # each actor on its own account
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    - action: FailIndex
      onExitCodes: {containerName: actor, operator: In, values: [64, 77, 78]}
template:
  {{- include "flowawr.actorPod" (list . "Never") | nindent 2 }}
{{- end }}

{{/* Pods of Jobs never change: another name for other content makes Helm replace the workload (SIGTERM, checkpoint, resume).
     (list $ "content") */}}
{{- define "flowawr.workloadName" -}}
{{- $root := index . 0 -}}
{{- include "flowawr.fullname" $root -}}
{{- if $root.Values.learner.nameByContent }}-{{ index . 1 | sha256sum | trunc 8 }}{{- end -}}
{{- end }}
