{{/* Labels of everything. */}}
{{- define "holdfast.labels" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/part-of: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* What selectors go by; with a component behind. */}}
{{- define "holdfast.selector" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The first three (or fewer) nodes: later ones join by themselves. */}}
{{- define "holdfast.peers" -}}
{{- $name := .Release.Name -}}
{{- $peers := list -}}
{{- range $at := until (int (min 3 .Values.replicas.count)) -}}
{{- $peers = append $peers (printf "%s-%d=%s-%d.%s-peers.$(POD_NAMESPACE).svc:9003" $name $at $name $at $name) -}}
{{- end -}}
{{- join "," $peers -}}
{{- end }}

{{/* Variables of every process. */}}
{{- define "holdfast.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- {name: HOLDFAST_PEERS, value: {{ include "holdfast.peers" . | quote }}}
- {name: HOLDFAST_LOG, value: {{ .Values.log.level | quote }}}
- {name: HOLDFAST_LOG_FORMAT, value: json}
- {name: HOLDFAST_CLUSTER_SECRET_FILE, value: /etc/holdfast/secret/cluster-secret}
{{- if ne .Values.tls.mode "none" }}
- {name: HOLDFAST_PEER_CERT, value: /etc/holdfast/peer-tls/tls.crt}
- {name: HOLDFAST_PEER_KEY, value: /etc/holdfast/peer-tls/tls.key}
- {name: HOLDFAST_PEER_CA, value: {{ ternary "/etc/holdfast/ca/service-ca.crt" "/etc/holdfast/peer-tls/ca.crt" (eq .Values.tls.mode "service-ca") }}}
{{- end }}
{{- end }}

{{/* Variables of processes that answer S3. */}}
{{- define "holdfast.s3env" -}}
- {name: HOLDFAST_ROOT_ACCESS_KEY_FILE, value: /etc/holdfast/secret/root-access-key}
- {name: HOLDFAST_ROOT_SECRET_KEY_FILE, value: /etc/holdfast/secret/root-secret-key}
{{- with .Values.defaultBuckets }}
- {name: HOLDFAST_DEFAULT_BUCKETS, value: {{ join "," . | quote }}}
{{- end }}
{{- if ne .Values.tls.mode "none" }}
- {name: HOLDFAST_TLS_CERT, value: /etc/holdfast/tls/tls.crt}
- {name: HOLDFAST_TLS_KEY, value: /etc/holdfast/tls/tls.key}
- {name: HOLDFAST_TLS_PLAIN, value: {{ ternary "s3,admin,ops" "admin,ops" (and .Values.route.enabled (eq .Values.route.termination "edge")) | quote }}}
{{- end }}
{{- end }}

{{/* Mounts and volumes; `s3` says whether the process answers S3. */}}
{{- define "holdfast.mounts" -}}
- {name: secret, mountPath: /etc/holdfast/secret, readOnly: true}
{{- if ne .root.Values.tls.mode "none" }}
- {name: peer-tls, mountPath: /etc/holdfast/peer-tls, readOnly: true}
{{- if eq .root.Values.tls.mode "service-ca" }}
- {name: ca, mountPath: /etc/holdfast/ca, readOnly: true}
{{- end }}
{{- if .s3 }}
- {name: tls, mountPath: /etc/holdfast/tls, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "holdfast.volumes" -}}
- name: secret
  secret:
    secretName: {{ .root.Values.secretName }}
    items:
      - {key: cluster-secret, path: cluster-secret}
{{- if .s3 }}
      - {key: root-access-key, path: root-access-key}
      - {key: root-secret-key, path: root-secret-key}
{{- end }}
{{- if ne .root.Values.tls.mode "none" }}
- {name: peer-tls, secret: {secretName: {{ .root.Values.tls.peersSecretName }}}}
{{- if eq .root.Values.tls.mode "service-ca" }}
- {name: ca, configMap: {name: {{ .root.Release.Name }}-ca}}
{{- end }}
{{- if .s3 }}
- {name: tls, secret: {secretName: {{ .root.Values.tls.s3SecretName }}}}
{{- end }}
{{- end }}
{{- end }}

{{/* Under restricted-v2, and under the Pod Security Standard `restricted`. */}}
{{- define "holdfast.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "holdfast.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "holdfast.probes" -}}
startupProbe:
  httpGet: {path: /health/live, port: ops}
  periodSeconds: 2
  failureThreshold: 150
livenessProbe:
  httpGet: {path: /health/live, port: ops}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /health/ready, port: ops}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end }}

{{- define "holdfast.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "holdfast.selector" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .component }}
affinity:
  podAntiAffinity:
    {{- if and (eq .component "replica") .root.Values.replicas.apart }}
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "holdfast.selector" .root | nindent 12 }}
            app.kubernetes.io/component: {{ .component }}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "holdfast.selector" .root | nindent 14 }}
              app.kubernetes.io/component: {{ .component }}
    {{- end }}
{{- end }}
