/** Whose token it is, asked once per session: what a role forbids is not offered. */
import { type ComponentChildren, createContext } from "preact";
import { useContext } from "preact/hooks";
import { Failure } from "./components/note";
import { type Role, ViewerDocument, type ViewerQuery } from "./gql/graphql";
import { useQuery } from "./query";

type Viewer = ViewerQuery["viewer"];
const ViewerContext = createContext<Viewer | null>(null);
const RANK: Record<Role, number> = { VIEWER: 0, OPERATOR: 1, ADMIN: 2 };

export function ViewerGate({ children }: { children: ComponentChildren }) {
  const { data, error, refetch } = useQuery(ViewerDocument, {}, true);
  if (data) return <ViewerContext.Provider value={data.viewer}>{children}</ViewerContext.Provider>;
  return <main class="alone">{error && <Failure error={error} retry={refetch} />}</main>;
}

export function useViewer(): Viewer {
  const viewer = useContext(ViewerContext);
  if (!viewer) throw new Error("nobody is signed in");
  return viewer;
}

/** Whether the viewer's role is this one or more. */
export function useMay(role: Role): boolean {
  return RANK[useViewer().role] >= RANK[role];
}
