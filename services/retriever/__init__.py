"""retriever: indexes what was classified (passages, dense and BM25, in Qdrant), searches it, and answers questions with verified citations."""
