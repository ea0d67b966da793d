"""Pictures and pages that show what assemblies are and what runs came to."""
