/** From whatever was pasted to the names in it. What is surely no part of one goes; the server judges the rest. */
export function namesIn(text: string): string[] {
  const names = text
    .split(/[\s,;|]+/)
    .map(nameIn)
    .filter(Boolean);
  const seen = new Set<string>();
  return names.filter((name) => !seen.has(name.toLowerCase()) && seen.add(name.toLowerCase()));
}

function nameIn(token: string): string {
  // OpenSSL's way to write names, and quotes and brackets of lists in programs and files.
  const bare = token.replace(/^["'`<({]+|["'`>)}]+$/g, "").replace(/^(DNS|IP):/i, "");
  const inList = /^\[[^:]*$|^[^[]*\]$/.test(bare) ? bare.replace(/[[\]"'`]/g, "") : bare;
  const host = inList.replace(/^[a-z][a-z0-9+.-]*:\/\/(?:[^/@]*@)?/i, "").replace(/[/?#].*$/, "");
  return host.replace(/^([^:]+|\[.*\]):\d*$/, "$1");
}
