#!/usr/bin/env bash
# A Truyvet scanner in bash 5, curl and openssl 3. docs/api.md explains each step.
#
#   scan.sh in 'TV1.…'     somebody enters; the text is what the camera read from their code
#   scan.sh out 'TV1.…'    somebody leaves (at a checkpoint: pass)
#   scan.sh                sends what still waits; run it from time to time, after an outage for instance
#   scan.sh missing        prints which of this device's seqs the server lacks
#
# Every scan is written down first and sent then, with all that still waits. It is forgotten when the server has
# answered for it, so neither a dead network nor a power cut loses one. Exit status: 0 sent, 75 kept for later,
# 1 kept and somebody must act, 64 called wrongly and nothing kept.
set -euo pipefail
shopt -s nullglob

key=${SCANNER_KEY:-device.pem}                          # the private key; it never leaves the device
keyid=${SCANNER_KEYID:-}                                # what the enrolment printed, such as gate-1.1
url=${SCANNER_URL:-http://127.0.0.1:8470}
log_url=${SCANNER_LOG_URL:-$url}                        # beside `truyvet up`: http://127.0.0.1:8471
queue=${SCANNER_QUEUE:-scanner-queue}                   # never delete it: a seq used twice is a scan lost

[[ $keyid ]] || { echo "Set SCANNER_KEYID to what the enrolment printed, such as gate-1.1. Nothing was kept." >&2; exit 64; }
mkdir -p "$queue"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
exec 9>"$queue/lock"
if command -v flock >/dev/null; then flock 9; fi        # two scans at once wait for each other

sign() { openssl pkeyutl -sign -rawin -inkey "$key" -in "$work/base" | openssl base64 -A; }

# Signed like a batch, without a body: only the device itself learns this. {"missing":[{"first":4,"last":7}],…} asks for
# scans 4 to 7; whoever keeps scans for a while after their receipt can send exactly those again.
missing() {
  local params signature
  params="(\"@method\" \"@path\");created=$EPOCHSECONDS;keyid=\"$keyid\""
  printf '"@method": GET\n"@path": /v1/sequence\n"@signature-params": %s' "$params" >"$work/base"
  signature=$(sign)
  curl --silent --show-error --fail-with-body --max-time 30 --header "Signature-Input: sig=$params" \
    --header "Signature: sig=:$signature:" "$log_url/v1/sequence" || { echo "Ask again later." >&2; exit 75; }
  echo
}

write_down() {  # kind, code
  [[ $1 =~ ^(in|out|pass)$ && $2 =~ ^[A-Za-z0-9._-]{1,512}$ ]] || { echo "Not a scan; nothing was kept." >&2; exit 64; }
  keep "$((${EPOCHREALTIME/[.,]/} / 1000))" "\"kind\":\"$1\",\"code\":\"$2\"}"
}

number() { if [[ -s $queue/$1 ]]; then echo $((10#$(<"$queue/$1"))); else echo 0; fi; }

set_number() {  # name, number: after a power cut it is the old one or the new one
  echo "$2" >"$queue/$1.new"
  sync "$queue/$1.new"
  mv "$queue/$1.new" "$queue/$1"
  sync "$queue"
}

keep() {  # at, the rest of the scan's JSON
  local seq name
  seq=$(($(number seq) + 1))
  set_number seq "$seq"                                 # the number is used up before the scan has it
  printf '{"seq":%d,"at":%d,%s' "$seq" "$1" "$2" >"$work/scan"
  printf -v name '%s/%016d.scan' "$queue" "$seq"
  mv "$work/scan" "$name"
  sync "$name" "$queue"
}

# A "duplicate" that cannot have arrived from here before (its number is above `attempted`) is another scan under that
# number: an earlier queue was lost. These scans get new numbers, above all that the server has seen.
keep_anew() {  # receipt, attempted
  local rest=$1 seen_to seq name scan
  [[ $1 =~ \"seen_to\":([0-9]+) ]] || return 0
  seen_to=${BASH_REMATCH[1]}
  while [[ $rest =~ \"seq\":([0-9]+),\"verdict\":\"duplicate\"(.*) ]]; do
    seq=${BASH_REMATCH[1]}
    rest=${BASH_REMATCH[2]}
    if ((seq <= $2)); then continue; fi
    if ((seen_to > $(number seq))); then set_number seq "$seen_to"; fi
    printf -v name '%s/%016d.scan' "$queue" "$seq"
    scan=$(<"$name")
    if [[ $scan =~ \"at\":([0-9]+),(.*)$ ]]; then keep "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"; fi
  done
}

send() {  # files of scans, oldest first
  local separator='' file digest params signature status attempted last problem=0
  printf '{"scans":[' >"$work/body"
  for file in "$@"; do
    printf '%s%s' "$separator" "$(<"$file")" >>"$work/body"
    separator=,
  done
  printf ']}' >>"$work/body"

  # RFC 9530: the digest of the body as it is sent. RFC 9421: the signature over these lines, the last one without
  # a line break.
  digest="sha-256=:$(openssl dgst -sha256 -binary "$work/body" | openssl base64 -A):"
  params="(\"@method\" \"@path\" \"content-type\" \"content-digest\");created=$EPOCHSECONDS;keyid=\"$keyid\""
  printf '%s\n' '"@method": POST' '"@path": /v1/scans' '"content-type": application/json' \
    "\"content-digest\": $digest" >"$work/base"
  printf '"@signature-params": %s' "$params" >>"$work/base"
  signature=$(sign)

  attempted=$(number attempted)
  last=${!#}
  last=$((10#$(basename "$last" .scan)))
  if ((last > attempted)); then set_number attempted "$last"; fi
  status=$(curl --silent --show-error --max-time 30 --output "$work/answer" --write-out '%{http_code}' \
    --header 'Content-Type: application/json' --header 'Expect:' --header "Content-Digest: $digest" \
    --header "Signature-Input: sig=$params" --header "Signature: sig=:$signature:" \
    --data-binary @"$work/body" "$url/v1/scans") || { problem=$?; status=000; }
  if ((problem == 7)) || [[ $status == 4?? ]]; then set_number attempted "$attempted"; fi  # nothing has arrived
  case $status in
    200 | 202) cat "$work/answer" && echo                 # refused scans are answered for too: the receipt says why
      keep_anew "$(<"$work/answer")" "$attempted"
      rm -- "$@" ;;
    000 | 408 | 429 | 5??) echo "Kept for later ($status)." >&2; exit 75 ;;
    *) echo "Kept, but somebody must act ($status): $(<"$work/answer")" >&2; exit 1 ;;
  esac
}

if [[ ${1:-} == missing ]]; then missing; exit; fi
if (($#)); then write_down "$1" "${2:-}"; fi
while waiting=("$queue"/*.scan) && ((${#waiting[@]})); do
  send "${waiting[@]:0:1000}"
done
