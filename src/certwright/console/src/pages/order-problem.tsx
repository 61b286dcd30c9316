import { type ProblemLike, ProblemText, shortType } from "../components/note";
import { Outside } from "../components/outside";

/** RFC 8555 §6.7, and Certwright's own: what each comes to, and what helps. */
const PLAIN: Record<string, string> = {
  accountDoesNotExist: "The CA does not know the account any more.",
  badCSR: "The CA does not accept the certificate signing request.",
  caa: "A CAA record of the domain does not let this CA issue for it.",
  compound: "Several things are wrong at once; each is named below.",
  connection:
    "The CA could not connect to the server that the name leads to. Is it reachable from everywhere, at port 80?",
  dns: "The CA's look-up in the DNS failed. Is the record there, and do the domain's name servers answer?",
  incorrectResponse: "What the CA found is not what it asked for. Compare it with what is to be published.",
  invalidProfile: "The CA does not issue this kind of certificate.",
  malformed: "The CA could not understand the request.",
  orderNotReady: "The CA does not take all names for proved yet.",
  rateLimited: "The CA has had too many requests of this kind lately.",
  rejectedIdentifier: "The CA does not issue certificates for this name.",
  serverInternal: "Something is wrong at the CA itself.",
  tls: "The CA could not speak TLS with the server that the name leads to.",
  unauthorized: "What the CA saw does not prove that the name is yours. Is it published exactly as it is shown here?",
  unsupportedIdentifier: "The CA does not issue certificates for names of this kind.",
  userActionRequired: "The CA wants something to be done on its site first.",
  "urn:certwright:cancelled": "The order was cancelled.",
  "urn:certwright:orderExpired": "The order's time ran out before all names were proved.",
  "urn:certwright:rateLimit": "A limit that the CA publishes is used up; asking it now would be in vain.",
  "urn:certwright:unavailable": "The CA cannot be reached at the moment.",
};

interface Props {
  problem: ProblemLike & { link?: string | null };
}

/** What is wrong in plain words; then the CA's own; behind them the whole document. */
export function PlainProblem({ problem }: Props) {
  const plain = PLAIN[shortType(problem.type)];
  return (
    <>
      {plain && <p>{plain}</p>}
      <ProblemText problem={problem} />
      {problem.link && (
        <p>
          <Outside href={problem.link}>What to do, on the CA's site</Outside>
        </p>
      )}
    </>
  );
}
