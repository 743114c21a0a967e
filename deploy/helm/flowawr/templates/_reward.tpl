{{/* (list $ settings) */}}
{{- define "flowawr.rewardContainer" -}}
{{- $root := index . 0 -}}
{{- $settings := index . 1 -}}
args:
  - flowawr-reward-server
  - --listen
  - {{ include "flowawr.listen" (list $root (include "flowawr.port.reward" $root)) | quote }}
  {{- include "flowawr.scorerArguments" . | trim | nindent 2 }}
  - --threads
  - {{ $settings.threads | int64 | quote }}
  - --max-batch
  - {{ $settings.maxBatch | int64 | quote }}
  - --max-wait-ms
  - {{ $settings.maxWaitMs | quote }}
  - --max-queued
  - {{ $settings.maxQueued | int64 | quote }}
  - --network-config
  - /etc/flowawr/config/reward.yaml
  - --metrics
  - {{ include "flowawr.listen" (list $root (include "flowawr.port.metrics" $root)) | quote }}
  - --log-level
  - {{ $settings.logLevel }}
ports:
  - {name: grpc, containerPort: {{ include "flowawr.port.reward" $root }}}
  - {name: metrics, containerPort: {{ include "flowawr.port.metrics" $root }}}
{{ include "flowawr.probes" (list $root (include "flowawr.port.reward" $root) $settings.startupSeconds) }}
lifecycle:
  preStop:  # names are forgotten before it stops answering
    exec: {command: [sleep, "10"]}
{{- end }}

{{/* The ways to reward servers: those of this release, and those elsewhere that values name. */}}
{{- define "flowawr.rewardEgress" -}}
{{- $rules := list -}}
{{- range $name, $server := .Values.rewardServers -}}
{{- if $server -}}
{{- $labels := include "flowawr.selector" (list $ (include "flowawr.rewardServer" $name)) | fromYaml -}}
{{- $rules = append $rules (dict "to" (list (dict "podSelector" (dict "matchLabels" $labels)))
      "ports" (list (dict "port" (include "flowawr.port.reward" $ | int) "protocol" "TCP"))) -}}
{{- end -}}
{{- end -}}
{{- concat $rules .Values.networkPolicy.rewardsElsewhere | toYaml -}}
{{- end }}
