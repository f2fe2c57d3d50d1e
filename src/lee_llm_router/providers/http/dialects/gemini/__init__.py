"""Google's Gemini API (v1beta), and Vertex."""
