{{/* Pods. All of them run under the restricted Pod Security Standard: no root, no writable root file system, no rights. */}}

{{/* (dict "root" $ "role" settings "component" "learner" "account" "learner" "container" YAML "volumes" YAML
     "restart" "Always" "sidecars" YAML "certificateOf" "another component") */}}
{{- define "flowawr.pod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- with $root.Values.pod.labels }}{{- toYaml . | nindent 4 }}{{- end }}
    {{- include "flowawr.selector" (list $root .component) | nindent 4 }}
  annotations:
    {{- with $root.Values.pod.annotations }}{{- toYaml . | nindent 4 }}{{- end }}
    kubectl.kubernetes.io/default-container: {{ .account }}
    {{- with .configDigest }}
    flowawr/config-digest: {{ . | quote }}
    {{- end }}
spec:
  serviceAccountName: {{ include "flowawr.fullname" $root }}-{{ .account }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  restartPolicy: {{ .restart }}
  terminationGracePeriodSeconds: {{ .role.terminationGracePeriodSeconds | int64 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: {{ $root.Values.pod.userId | int64 }}
    runAsGroup: {{ $root.Values.pod.groupId | int64 }}
    fsGroup: {{ $root.Values.pod.groupId | int64 }}
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with .role.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .role.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with .role.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .role.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .role.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- with .role.topologySpreadConstraints }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "flowawr.selector" (list $root .component) | nindent 10 }}
    {{- end }}
  {{- with .sidecars }}
  initContainers: {{- . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .account }}
      image: {{ include "flowawr.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      workingDir: {{ $root.Values.image.home }}
      {{- .container | nindent 6 }}
      env:
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - {name: HOME, value: /tmp}
        {{- range $name, $value := .role.env }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
      resources: {{- toYaml .role.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: config, mountPath: /etc/flowawr/config, readOnly: true}
        {{- if ne $root.Values.tls.mode "off" }}
        - {name: tls, mountPath: /etc/flowawr/tls, readOnly: true}
        {{- end }}
        {{- if $root.Values.tokens.secret }}
        - {name: tokens, mountPath: /etc/flowawr/tokens, readOnly: true}
        {{- end }}
        {{- if $root.Values.model.claim }}
        - {name: model, mountPath: {{ $root.Values.model.mountPath }}, readOnly: true}
        {{- end }}
        {{- with .mounts }}{{- . | nindent 8 }}{{- end }}
        {{- with .role.extraVolumeMounts }}{{- toYaml . | nindent 8 }}{{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: {{ $root.Values.pod.tmpSize }}}
    - name: config
      configMap:
        name: {{ include "flowawr.fullname" $root }}-config
        items: [{{ range $i, $item := .configItems }}{{ if $i }}, {{ end }}{key: {{ $item }}, path: {{ $item }}}{{ end }}]
    {{- if ne $root.Values.tls.mode "off" }}
    - name: tls
      secret:
        secretName: {{ include "flowawr.tlsSecret" (list $root (.certificateOf | default .component)) }}
        defaultMode: 0440
        items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}, {key: ca.crt, path: ca.crt}]
    {{- end }}
    {{- if $root.Values.tokens.secret }}
    - name: tokens
      secret:
        secretName: {{ $root.Values.tokens.secret }}
        defaultMode: 0440
        items: [{{ range $i, $token := .tokens }}{{ if $i }}, {{ end }}{key: {{ $token }}, path: {{ $token }}}{{ end }}]
    {{- end }}
    {{- if $root.Values.model.claim }}
    - name: model
      persistentVolumeClaim: {claimName: {{ $root.Values.model.claim }}, readOnly: true}
    {{- end }}
    {{- with .volumes }}{{- . | nindent 4 }}{{- end }}
    {{- with .role.extraVolumes }}{{- toYaml . | nindent 4 }}{{- end }}
{{- end }}

{{/* How a server is asked whether it is well: by kubelet where nobody has to show who they are, else by the program.
     (list $ port "server or scorer to ask for") */}}
{{- define "flowawr.healthCheck" -}}
{{- if include "flowawr.isGuarded" (index . 0) -}}
exec:
  command: [flowawr, health, --address, "127.0.0.1:{{ index . 1 }}", --network-config, /etc/flowawr/config/probe.yaml]
timeoutSeconds: 10
{{- else -}}
grpc: {port: {{ index . 1 }}}
timeoutSeconds: 5
{{- end -}}
{{- end }}

{{/* (list $ port startupSeconds) */}}
{{- define "flowawr.probes" -}}
{{- $check := include "flowawr.healthCheck" . -}}
startupProbe:
  {{- $check | nindent 2 }}
  periodSeconds: 5
  failureThreshold: {{ div (index . 2 | int64) 5 | max 1 }}
readinessProbe:
  {{- $check | nindent 2 }}
  periodSeconds: 10
  failureThreshold: 3
livenessProbe:
  {{- $check | nindent 2 }}
  periodSeconds: 20
  failureThreshold: 6
{{- end }}
