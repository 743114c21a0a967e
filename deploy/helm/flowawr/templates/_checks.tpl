{{/* What the schema cannot say: values that each make sense and do not go together. Included by whoever
     makes the learner's configuration. */}}
{{- define "flowawr.checks" -}}
{{- if and (eq .Values.tls.mode "secret") (not .Values.tls.secret) -}}
  {{- fail "tls.mode is secret: name the Secret in tls.secret (tls.crt, tls.key, ca.crt), or choose certManager or off" -}}
{{- end -}}
{{- if and (eq .Values.tls.mode "certManager") (not .Values.tls.issuer.name) -}}
  {{- fail "tls.mode is certManager: name who signs in tls.issuer.name" -}}
{{- end -}}
{{- if and .Values.tls.mutual (eq .Values.tls.mode "off") -}}
  {{- fail "tls.mutual needs certificates: choose another tls.mode than off" -}}
{{- end -}}
{{- if and .Values.copy.enabled (not (and .Values.copy.remote .Values.copy.configSecret)) -}}
  {{- fail "copy.enabled needs copy.remote (e.g. store:bucket/folder) and copy.configSecret, a Secret with rclone.conf" -}}
{{- end -}}
{{- if and .Values.prompts.files .Values.prompts.configMap -}}
  {{- fail "prompts.files and prompts.configMap: set one of them" -}}
{{- end -}}
{{- if and (include "flowawr.hasRanks" .) (ne .Values.learner.workload "JobSet") -}}
  {{- fail "learner.ranks above 1 needs learner.workload: JobSet, which names rank 0 to the others and ends them with the run" -}}
{{- end -}}
{{- if hasKey (.Values.run.config.train | default dict) "ranks" -}}
  {{- fail "run.config.train.ranks is set by the chart: say it in learner.ranks" -}}
{{- end -}}
{{- if and (eq .Values.actors.workload "Deployment") (le (int .Values.actors.giveUpAfterSeconds) 0) -}}
  {{- fail "actors.giveUpAfterSeconds: 0 makes actors of a Deployment leave before the learner is there" -}}
{{- end -}}
{{- if and (eq .Values.actors.workload "Job") (kindIs "invalid" .Values.actors.replicas) -}}
  {{- fail "actors.workload is Job: say how many in actors.replicas" -}}
{{- end -}}
{{- if not (omit .Values.rewardServers "") -}}
  {{- range (include "flowawr.writtenConfig" . | fromYaml).rewards.terms -}}
    {{- if not .endpoint }}{{- fail "rewardServers is empty, and the run's rewards name no endpoint" }}{{- end -}}
  {{- end -}}
{{- end -}}
{{- range $name, $server := .Values.rewardServers -}}
{{- if $server -}}
  {{- $settings := include "flowawr.rewardServerSettings" (list $ $name) | fromYaml -}}
  {{- with $settings.autoscaling -}}
    {{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
      {{- fail (printf "rewardServers.%s.autoscaling: minReplicas %d is above maxReplicas %d" $name (int .minReplicas) (int .maxReplicas)) -}}
    {{- end -}}
  {{- end -}}
  {{- if and (not $settings.autoscaling.enabled) (not $settings.scorers) -}}
    {{- fail (printf "rewardServers.%s.scorers is empty: a server without scorers helps nobody; remove it with rewardServers.%s: null" $name $name) -}}
  {{- end -}}
  {{- if gt (int $settings.autoscaling.queueImages) (int $settings.maxQueued) -}}
    {{- fail (printf "rewardServers.%s.autoscaling.queueImages %d is never reached: only maxQueued %d images may wait" $name (int $settings.autoscaling.queueImages) (int $settings.maxQueued)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
