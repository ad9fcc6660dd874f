// Calls of the API of the broker. An operation is named as in its OpenAPI document, such as
// "GET /clients/{id}", so that a test can look for each of them there.

const base = "/api/v1";
const answerWithin = 30_000; // milliseconds

// A Problem is why a call failed; status 0: the broker did not answer.
export class Problem extends Error {
  constructor(status, text, retryAfter) {
    super(text);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

// What is told of each call: an answer, none, or that nobody is signed in.
export const heard = {answered() {}, silent() {}, unknown() {}};

// call does an operation. Its options are path (what stands for the names in braces), query,
// body, and signal, which ends it.
export async function call(operation, {path = {}, query = {}, body, signal} = {}) {
  const [method, template] = operation.split(" ");
  const url = address(template, path, query);
  const ends = AbortSignal.timeout(answerWithin);
  let response;
  try {
    response = await fetch(url, {
      method, cache: "no-store", credentials: "same-origin", redirect: "error",
      signal: signal ? AbortSignal.any([signal, ends]) : ends,
      headers: body === undefined ? {} : {"Content-Type": "application/json"},
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    heard.silent();
    throw new Problem(0, "The broker does not answer.");
  }
  heard.answered();
  if (response.ok) return response.status === 204 ? null : await response.json();
  const problem = await read(response);
  if (problem.status === 401 && template !== "/session") heard.unknown();
  throw problem;
}

// address is the URL of an operation.
export function address(template, path, query) {
  const url = base + template.replace(/\{(\w+)\}/g, (_, key) => encodeURIComponent(path[key]));
  const q = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined && value !== null && value !== "") q.set(key, value);
  return q.size ? url + "?" + q : url;
}

// read makes a Problem of problem details (RFC 9457).
async function read(response) {
  let details = {};
  try {
    details = await response.json();
  } catch { /* not from the broker: the status is all there is */ }
  const fields = (details.errors ?? []).filter(e => e.message !== details.detail).map(e => (e.location ? e.location.replace(/^(body|query|path)\./, "") + ": " : "") + e.message);
  const text = [details.detail || details.title || response.statusText || "Status " + response.status, ...fields].join(" · ");
  return new Problem(response.status, text, Number(response.headers.get("Retry-After")) || 0);
}

// isAbort says that a call was ended because nobody waits for it any more.
export const isAbort = error => error instanceof DOMException && error.name === "AbortError";
