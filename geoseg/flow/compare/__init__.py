"""Map labeled scenes with several models and compare their scores and speed."""
