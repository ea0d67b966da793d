"""This process among others: who they are, how they start, meet and agree, and what is done where one stops."""
