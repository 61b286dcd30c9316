/** Idempotency keys: sending a form's content twice does its work once, and changed content is another work. */
export interface Once {
  of(content: object): string;
  /** After a refusal: trying again is another work. Not where the server was not reached, which may have done it. */
  refused(code: string | undefined): void;
}

export function once(): Once {
  const keys = new Map<string, string>();
  return {
    of(content) {
      const text = JSON.stringify(content);
      const key = keys.get(text) ?? random();
      keys.set(text, key);
      return key;
    },
    refused(code) {
      if (code && code !== "UNREACHABLE") keys.clear();
    },
  };
}

/** Not randomUUID: browsers have that on https only. */
function random(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (octet) => octet.toString(16).padStart(2, "0")).join("");
}
