// Subscribes with @apollo/client over its link for graphql-ws, as a frontend would. It takes and prints what
// subscribe.mjs does, except that the closing of a socket is told in Apollo's words:
//   node apollo.mjs URL TOKEN QUERY UNTIL [QUERY UNTIL]...
import { ApolloClient, CombinedGraphQLErrors, gql, InMemoryCache } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { connect, followAll } from './client.mjs';

const [url, token, ...pairs] = process.argv.slice(2);
const client = connect(url, token);
const apollo = new ApolloClient({ link: new GraphQLWsLink(client), cache: new InMemoryCache() });

const follow = (query, until, tell) =>
  new Promise((resolve) => {
    let ended = false;
    const end = (message) => {
      if (!ended) tell(message); // After a failure, Apollo completes too.
      ended = true;
      resolve();
    };
    const fail = (error) => end({ failed: CombinedGraphQLErrors.is(error) ? error.errors : error.message });
    const subscription = apollo.subscribe({ query: gql(query) }).subscribe({
      next: ({ data, error }) => {
        if (error) return fail(error);
        tell({ next: { data } });
        if (JSON.stringify(data).includes(until)) {
          subscription.unsubscribe();
          end({ completed: true });
        }
      },
      error: fail,
      complete: () => end({ completed: true }),
    });
  });

await followAll(pairs, follow);
apollo.stop();
await client.dispose();
