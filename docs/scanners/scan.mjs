#!/usr/bin/env node
// A Truyvet scanner with nothing but Node's standard library (20.10 or newer). docs/api.md explains each step.
//
//   scan.mjs in 'TV1.…'     somebody enters; the text is what the camera read from their code
//   scan.mjs out 'TV1.…'    somebody leaves (at a checkpoint: pass)
//   scan.mjs                sends what still waits; run it from time to time, after an outage for instance
//   scan.mjs missing        prints which of this device's seqs the server lacks
//
// Every scan is written down first and sent then, with all that still waits. It is forgotten when the server has
// answered for it, so neither a dead network nor a power cut loses one. Run one at a time for a queue. Exit status:
// 0 sent, 75 kept for later, 1 kept and somebody must act, 64 called wrongly and nothing kept.
import { createHash, createPrivateKey, sign } from 'node:crypto';
import * as fs from 'node:fs';
import { gzipSync } from 'node:zlib';

const env = process.env;
const keyFile = env.SCANNER_KEY ?? 'device.pem'; // the private key; it never leaves the device
const keyid = env.SCANNER_KEYID; // what the enrolment printed, such as gate-1.1
const url = env.SCANNER_URL ?? 'http://127.0.0.1:8470';
const logUrl = env.SCANNER_LOG_URL ?? url; // beside `truyvet up`: http://127.0.0.1:8471
const queue = env.SCANNER_QUEUE ?? 'scanner-queue'; // never delete it: a seq used twice is a scan lost
const BATCH_SCANS = 1000;

function end(status, text) {
  console.error(text);
  process.exit(status);
}

/** Writes a file so that after a power cut it is there whole or not at all. */
function writeDurably(name, text) {
  fs.writeFileSync(`${queue}/${name}.new`, text, { flush: true });
  fs.renameSync(`${queue}/${name}.new`, `${queue}/${name}`);
  const directory = fs.openSync(queue);
  fs.fsyncSync(directory);
  fs.closeSync(directory);
}

function writeDown(kind, code) {
  if (!['in', 'out', 'pass'].includes(kind) || !code) end(64, 'Not a scan; nothing was kept.');
  keep({ at: Date.now(), kind, code });
}

function number(name) {
  return fs.existsSync(`${queue}/${name}`) ? Number(fs.readFileSync(`${queue}/${name}`, 'utf8')) : 0;
}

function keep(scan) {
  const seq = number('seq') + 1;
  writeDurably('seq', `${seq}\n`); // the number is used up before the scan has it
  writeDurably(`${String(seq).padStart(16, '0')}.scan`, JSON.stringify({ ...scan, seq }));
}

/** A "duplicate" that cannot have arrived from here before (its number is above `attempted`) is another scan under that
 * number: an earlier queue was lost. These scans get new numbers, above all that the server has seen. */
function keepAnew({ seen_to, verdicts }, scans, attempted) {
  const taken = verdicts.filter(({ seq, verdict }) => verdict === 'duplicate' && seq > attempted).map(({ seq }) => seq);
  if (taken.length > 0) writeDurably('seq', `${Math.max(seen_to, number('seq'))}\n`);
  for (const scan of scans) if (taken.includes(scan.seq)) keep(scan);
}

function readKey() {
  try {
    return createPrivateKey(fs.readFileSync(keyFile));
  } catch (error) {
    return end(1, `Kept, but somebody must act: ${keyFile} holds no private key (${error.message}).`);
  }
}

/** The headers that make `body`, as it is sent, a signed request (RFC 9421, RFC 9530). */
function signedHeaders(body, privateKey) {
  const headers = {
    'content-type': 'application/json',
    'content-encoding': 'gzip',
    'content-digest': `sha-256=:${createHash('sha256').update(body).digest('base64')}:`,
  };
  return { ...headers, ...signatureOf({ '@method': 'POST', '@path': '/v1/scans', ...headers }, privateKey) };
}

/** The two headers of a signature over these components and their values. */
function signatureOf(covered, privateKey) {
  const names = Object.keys(covered).map((name) => `"${name}"`).join(' ');
  const params = `(${names});created=${Math.floor(Date.now() / 1000)};keyid="${keyid}"`;
  const signed = Object.entries({ ...covered, '@signature-params': params });
  const base = signed.map(([name, value]) => `"${name}": ${value}`).join('\n');
  const signature = sign(null, Buffer.from(base), privateKey).toString('base64');
  return { 'signature-input': `sig=${params}`, signature: `sig=:${signature}:` };
}

/** Signed like a batch, without a body: only the device itself learns this. {"missing":[{"first":4,"last":7}],…} asks for
 * scans 4 to 7; whoever keeps scans for a while after their receipt can send exactly those again. */
async function printMissing(privateKey) {
  const headers = signatureOf({ '@method': 'GET', '@path': '/v1/sequence' }, privateKey);
  const { ok, text } = await fetch(`${logUrl}/v1/sequence`, { headers, signal: AbortSignal.timeout(30_000) })
    .then(async (answer) => ({ ok: answer.ok, text: await answer.text() }))
    .catch((error) => ({ ok: false, text: error.message }));
  if (!ok) end(75, `Ask again later: ${text}`);
  console.log(text);
}

/** Sends the oldest scans; returns the exit status for a failure, or null. */
async function send(files, privateKey) {
  const scans = files.map((file) => JSON.parse(fs.readFileSync(`${queue}/${file}`, 'utf8')));
  const attempted = number('attempted');
  writeDurably('attempted', `${Math.max(attempted, scans.at(-1).seq)}\n`);
  const body = gzipSync(JSON.stringify({ scans }));
  const request = { method: 'POST', headers: signedHeaders(body, privateKey), body, signal: AbortSignal.timeout(30_000) };
  const { status, text, nobody } = await fetch(`${url}/v1/scans`, request)
    .then(async (answer) => ({ status: answer.status, text: await answer.text() }))
    .catch((error) => ({ status: 0, text: error.message, nobody: error.cause?.code === 'ECONNREFUSED' }));
  if (status === 200 || status === 202) {
    console.log(text); // refused scans are answered for too: the receipt says why
    keepAnew(JSON.parse(text), scans, attempted);
    for (const file of files) fs.unlinkSync(`${queue}/${file}`);
    return null;
  }
  if (nobody || (status >= 400 && status < 500)) writeDurably('attempted', `${attempted}\n`); // nothing has arrived
  const later = status === 0 || status === 408 || status === 429 || status >= 500;
  console.error(`${later ? 'Kept for later' : 'Kept, but somebody must act'} (${status}): ${text}`);
  return later ? 75 : 1;
}

if (!keyid) end(64, 'Set SCANNER_KEYID to what the enrolment printed, such as gate-1.1. Nothing was kept.');
fs.mkdirSync(queue, { recursive: true });
const [kind, code] = process.argv.slice(2);
if (kind === 'missing') {
  await printMissing(readKey());
  process.exit();
}
if (kind) writeDown(kind, code);
const privateKey = readKey();
const waiting = () => fs.readdirSync(queue).filter((name) => name.endsWith('.scan')).sort();
for (let files, failed = null; failed === null && (files = waiting()).length > 0; ) {
  failed = await send(files.slice(0, BATCH_SCANS), privateKey);
  process.exitCode = failed ?? 0;
}
