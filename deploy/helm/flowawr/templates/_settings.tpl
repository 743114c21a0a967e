{{/* What is worked out from the values: the run's configuration, who serves which scorer, the section `network` of each role. */}}

{{/* A reward server with its defaults filled in. (list $ "name") */}}
{{- define "flowawr.rewardServerSettings" -}}
{{- $root := index . 0 -}}
{{- mergeOverwrite (deepCopy $root.Values.rewardServerDefaults) (deepCopy (index $root.Values.rewardServers (index . 1))) | toYaml -}}
{{- end }}

{{/* The name by which a scorer is asked for: what stands before "=" and ",". */}}
{{- define "flowawr.scorerName" -}}
{{- index (splitList "=" (index (splitList "," .) 0)) 0 -}}
{{- end }}

{{/* The configuration as people wrote it: one of the repository's, with run.config over it. */}}
{{- define "flowawr.writtenConfig" -}}
{{- $config := dict -}}
{{- with .Values.run.base -}}
  {{- $file := printf "files/configs/%s.yaml" . -}}
  {{- $text := $.Files.Get $file -}}
  {{- if not $text -}}
    {{- $there := list -}}
    {{- range $path, $_ := $.Files.Glob "files/configs/*.yaml" }}{{- $there = append $there (trimSuffix ".yaml" (base $path)) }}{{- end -}}
    {{- fail (printf "run.base: there is no configuration %q; there are: %s; empty: everything is in run.config" . (join ", " $there)) -}}
  {{- end -}}
  {{- $config = fromYaml $text -}}
{{- end -}}
{{- range $taken := list "run_dir" "network" "local" -}}
  {{- if hasKey $.Values.run.config $taken -}}
    {{- fail (printf "run.config.%s is set by the chart (run.name, tls, tokens, actors): remove it" $taken) -}}
  {{- end -}}
{{- end -}}
{{- $config = mergeOverwrite $config (deepCopy .Values.run.config) -}}
{{- if not (dig "rewards" "terms" list $config) -}}
  {{- fail "run.config.rewards.terms is empty: name a reward, or a run.base that has some" -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{/* The configuration that the learner gets: places filled in. What a term says of its scorer's kind and options goes to
     the reward servers that have it, see flowawr.scorerArguments. */}}
{{- define "flowawr.runConfig" -}}
{{- include "flowawr.checks" . -}}
{{- $config := include "flowawr.writtenConfig" . | fromYaml -}}
{{- $_ := set $config "run_dir" (printf "/runs/%s" .Values.run.name) -}}
{{- $network := dict "learner_listen" (include "flowawr.listen" (list . (include "flowawr.port.learner" .))) -}}
{{- $_ := set $config "network" (mergeOverwrite $network (include "flowawr.network" (list . "actor" "reward" "operator" "read-only") | fromYaml)) -}}
{{- if include "flowawr.hasRanks" . -}}
  {{- $_ := set $config "train" (mergeOverwrite (dict) ($config.train | default dict) (dict "ranks" (int64 .Values.learner.ranks))) -}}
  {{- $_ := set $config.network "ranks_listen" (include "flowawr.listen" (list . (include "flowawr.port.ranks" .))) -}}
  {{- $_ := set $config.network "insecure" true -}}{{/* of the ranks' own port alone, where there is TLS */}}
{{- end -}}
{{- $terms := list -}}
{{- range $term := $config.rewards.terms -}}
  {{- $term = deepCopy $term -}}
  {{- if not $term.endpoint -}}
    {{- $endpoints := list -}}
    {{- range $name, $server := $.Values.rewardServers -}}
      {{- if $server -}}
      {{- range $scorer := $server.scorers -}}
        {{- if eq (include "flowawr.scorerName" $scorer) $term.scorer -}}
          {{- $endpoints = append $endpoints (printf "%s-%s:%s" (include "flowawr.fullname" $) (include "flowawr.rewardServer" $name) (include "flowawr.port.reward" $)) -}}
        {{- end -}}
      {{- end -}}
      {{- end -}}
    {{- end -}}
    {{- if not $endpoints -}}
      {{- fail (printf "the reward %q has no server: add it to the scorers of one of rewardServers, or give its term an endpoint" $term.scorer) -}}
    {{- end -}}
    {{- $term = set (omit $term "kind" "options") "endpoint" (join "," $endpoints) -}}
  {{- end -}}
  {{- $terms = append $terms $term -}}
{{- end -}}
{{- $_ := set $config.rewards "terms" $terms -}}
{{- toYaml $config -}}
{{- end }}

{{/* --scorer arguments of a reward server: a bare name has kind and options of the run's term of that name. (list $ settings) */}}
{{- define "flowawr.scorerArguments" -}}
{{- $config := include "flowawr.writtenConfig" (index . 0) | fromYaml -}}
{{- range $scorer := (index . 1).scorers }}
  {{- $argument := $scorer -}}
  {{- if eq $scorer (include "flowawr.scorerName" $scorer) -}}
    {{- range $term := $config.rewards.terms -}}
      {{- if and (eq $term.scorer $scorer) (not $term.endpoint) -}}
        {{- with $term.kind }}{{- $argument = printf "%s=%s" $argument . }}{{- end -}}
        {{- range $option, $value := $term.options }}{{- $argument = printf "%s,%s=%v" $argument $option $value }}{{- end -}}
      {{- end -}}
    {{- end -}}
  {{- end }}
- --scorer
- {{ $argument | quote }}
{{- end }}
{{- end }}

{{/* The section `network` of a role that has these tokens. (list $ "token" ...) */}}
{{- define "flowawr.network" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.tls }}
{{- if eq .mode "off" }}
insecure: true
{{- else }}
tls_cert: /etc/flowawr/tls/tls.crt
tls_key: /etc/flowawr/tls/tls.key
tls_ca: /etc/flowawr/tls/ca.crt
metrics_tls: true
{{- if .mutual }}
mutual_tls: true
{{- end }}
{{- end }}
{{- end }}
{{- if $root.Values.tokens.secret }}
{{- range rest . }}
{{ replace "-" "_" . }}_token_file: /etc/flowawr/tokens/{{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The actors' own: they call each other by the addresses of pods, and ask for the name that the certificate of all of them
     carries. */}}
{{- define "flowawr.actorNetwork" -}}
{{ include "flowawr.network" (list . "actor") | trim }}
{{- if and .Values.actors.peers (ne .Values.tls.mode "off") }}
peer_tls_name: {{ include "flowawr.fullname" . }}-actor
{{- end }}
{{- end }}

{{/* Whether the learner is several processes. */}}
{{- define "flowawr.hasRanks" -}}
{{- if gt (int .Values.learner.ranks) 1 }}yes{{- end }}
{{- end }}

{{/* Whether a health check must show who it is: kubelet's own gRPC probes speak neither TLS nor tokens. */}}
{{- define "flowawr.isGuarded" -}}
{{- if or (ne .Values.tls.mode "off") .Values.tokens.secret }}yes{{- end }}
{{- end }}

{{/* The Secret with the certificate of a component. (list $ "component") */}}
{{- define "flowawr.tlsSecret" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.tls.mode "secret" }}{{ $root.Values.tls.secret }}{{- else }}{{ include "flowawr.fullname" $root }}-{{ index . 1 }}-tls{{- end }}
{{- end }}
