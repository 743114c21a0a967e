{{/* Names and labels. Every name that the chart makes is at most 63 characters, whatever Kubernetes appends. */}}

{{- define "flowawr.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end }}

{{/* What all names of a release begin with. Pods of the JobSet append "-1234abcd-learner-0-0-abcde" to it: 27 characters. */}}
{{- define "flowawr.fullname" -}}
{{- $name := include "flowawr.name" . -}}
{{- $full := .Values.fullnameOverride | default (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) -}}
{{- if gt (len $full) 36 -}}
{{- fail (printf "the name %q has %d characters, at most 36 leave room for what Kubernetes appends: set fullnameOverride, or a shorter release name" $full (len $full)) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $full) -}}
{{- fail (printf "the name %q must begin with a letter and hold lower-case letters, digits and - alone, as DNS asks: set fullnameOverride" $full) -}}
{{- end -}}
{{- $full -}}
{{- end }}

{{/* What pods are selected by: never changes in the life of a release. (list $ "component") */}}
{{- define "flowawr.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "flowawr.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "flowawr.labels" -}}
{{- $root := index . 0 -}}
{{ include "flowawr.selector" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "flowawr.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}
{{- end }}

{{/* The component of a reward server: its label, its Service and what its pods are called after. */}}
{{- define "flowawr.rewardServer" -}}reward-{{ . }}{{- end }}

{{/* Where a program listens. (list $ port) */}}
{{- define "flowawr.listen" -}}
{{- $host := (index . 0).Values.pod.listen -}}
{{- contains ":" $host | ternary (printf "[%s]:%s" $host (index . 1)) (printf "%s:%s" $host (index . 1)) -}}
{{- end }}

{{- define "flowawr.port.learner" -}}50051{{- end }}
{{- define "flowawr.port.reward" -}}50052{{- end }}
{{- define "flowawr.port.ranks" -}}29400{{- end }}
{{- define "flowawr.port.peers" -}}7100{{- end }}
{{- define "flowawr.port.metrics" -}}9464{{- end }}
