/** Distinguished names (RFC 4514) as people call them. */

/** "CN=R12,O=Let's Encrypt,C=US" → "R12 (Let's Encrypt)"; a name of another shape stays as it is. */
export function issuerName(name: string): string {
  const common = part(name, "CN");
  const organisation = part(name, "O");
  if (common && organisation) return `${common} (${organisation})`;
  return common ?? organisation ?? name;
}

function part(name: string, type: string): string | null {
  const found = new RegExp(`(?:^|[,+])${type}=((?:\\\\.|[^,+\\\\])*)`).exec(name)?.[1];
  return found ? found.replaceAll(/\\(.)/g, "$1") : null;
}
