// Requests to the server. What cannot be reached or is too busy has the status 0 or 5xx, and is tried again by the caller.

let csrf = "";

export async function ask(path, body) {
  const options = { credentials: "same-origin", cache: "no-store", redirect: "error" };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
    options.body = JSON.stringify(body);
  }
  try {
    const reply = await fetch(path, options);
    const found = await reply.json();
    if (found.csrf) csrf = found.csrf;
    return { status: reply.status, ...found };
  } catch {
    return { status: 0 };
  }
}
