"""The GraphQL API: views of the model, thin resolvers, and the view that serves them over HTTP and WebSocket."""
