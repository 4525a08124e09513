"""The local cloud: a private MariaDB, MiniStack and the sample API, all under one folder."""
